// Top-k selection.
// Test: tests/unit/ops/routing/route_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The indices of the k largest of n values, in descending order of value, ties to the lowest
/// index. NaN counts as the largest value, so that it is chosen and shows in the result.
/// Shapes: values [n], chosen [k], k <= n
/// Cost: at most n k comparisons
template <class T>
void choose_top_k(T const* values, std::int64_t n, std::int64_t k, std::int32_t* chosen) {
  auto const precedes = [&](std::int32_t a, std::int32_t b) {
    if (values[a] != values[a]) return values[b] == values[b];
    return values[a] > values[b];
  };
  std::int64_t count = 0;
  for (std::int32_t e = 0; e < n; ++e) {
    std::int64_t at = count;
    while (at > 0 && precedes(e, chosen[at - 1])) --at;
    if (at == k) continue;
    if (count < k) ++count;
    for (std::int64_t i = count - 1; i > at; --i) chosen[i] = chosen[i - 1];
    chosen[at] = e;
  }
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
