// Rows of a product in groups, each small enough for its sums to stay in registers.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// Largest number of rows of a group: their sums, two registers per row, and the weights fit the 32
/// or 16 registers. Integer sums take two more per row until they are scaled.
constexpr int max_rows(dtype activations) {
  if (simd::width == 16) return activations == dtype::int8 && PLAIT_INT8_DOT ? 6 : 12;
  return activations != dtype::int8 && simd::width == 8 ? 6 : 4;
}

/// `rows` rows in as few groups of at most `max_size` as possible, of nearly equal size. Results do
/// not depend on the grouping.
///
/// Test: tests/unit/ops/linear/linear_test.cpp
struct row_groups {
  std::int64_t rows;
  int max_size;  ///< of a group
  constexpr std::int64_t count() const { return (rows + max_size - 1) / max_size; }
  constexpr std::int64_t first(std::int64_t g) const {
    return rows / count() * g + (g < rows % count() ? g : rows % count());
  }
  constexpr std::int64_t size(std::int64_t g) const { return first(g + 1) - first(g); }
};

/// Calls body(std::integral_constant<int, rows>) for rows in [1, Max].
template <int Max, class Body>
[[gnu::always_inline]] inline void with_rows(std::int64_t rows, Body&& body) {
  [&]<int... M>(std::integer_sequence<int, M...>) {
    (void)((rows == M + 1 ? (body(std::integral_constant<int, M + 1>{}), true) : false) || ...);
  }
  (std::make_integer_sequence<int, Max>{});
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
