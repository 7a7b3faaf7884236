// The register tile of the CPU's products: sums of a few rows of x times one panel of weights.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/panel_format.hpp>
#include <plait/cpu/simd.hpp>

#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace panels {

using simd::packet;
using simd::width;

/// Rows of weights in a panel.
inline constexpr int panel = static_cast<int>(panel_rows);
static_assert(panel == 2 * width);

/// Element type of the products that a tile sums.
enum class products { floats, bytes };

namespace detail {
// A trait, since g++ warns of a register type as a template argument (-Wignored-attributes).
template <products>
struct sum_register {
  using type = packet;
};
template <>
struct sum_register<products::bytes> {
  using type = simd::byte_sum;
};
}  // namespace detail

/// Sums of `Rows` rows of x times one panel, two registers per row. Each method unrolls over the
/// rows with constant indices (for_sums): so the compiler keeps the sums in registers.
/// Equation: sum[m] = sum[m] + (a, b) x[m] for m in [0, Rows), one rounding per product and lane;
///   a and b are one column of weights, x[m] that column's value of row m
/// Shapes: up to max_rows (cpu/row_groups.hpp) rows fit the registers
/// Cost: one multiply-add per sum, one broadcast per row
/// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp
template <int Rows, products Products = products::floats>
struct accumulators {
  typename detail::sum_register<Products>::type sum[Rows][2];

  /// Sets each row to 0, or to the `count` values of bias.
  void start(float const* bias = nullptr, std::int64_t count = panel) {
    packet const a = bias != nullptr ? simd::load(bias, count) : simd::set(0.0f);
    packet const b = bias != nullptr && count > width ? simd::load(bias + width, count - width)
                                                      : simd::set(0.0f);
    for_sums([&](auto m, auto half) { sum[m][half] = half == 0 ? a : b; });
  }
  /// Sets row m of sums of bytes to x[m] in each lane.
  [[gnu::always_inline]] void start_bytes(float const* x) {
    for_sums([&](auto m, auto half)
                 __attribute__((always_inline)) { sum[m][half] = simd::byte_sum_of(x[m]); });
  }
  /// Reads [Rows][panel].
  void load(float const* from) {
    for_sums(
        [&](auto m, auto half) { sum[m][half] = simd::load(from + m * panel + half * width); });
  }
  /// Writes [Rows][panel].
  void store(float* to) const {
    for_sums([&](auto m, auto half) { simd::store(to + m * panel + half * width, sum[m][half]); });
  }
  /// Writes `count` columns of row m.
  void write(int m, float* y, std::int64_t count) const {
    simd::store(y, sum[m][0], count);
    if (count > width) simd::store(y + width, sum[m][1], count - width);
  }

  /// sum[m] += (a, b) x[m].
  [[gnu::always_inline]] void multiply_add(packet a, packet b, float const* x) {
    for_sums([&](auto m, auto half) __attribute__((always_inline)) {
      sum[m][half] = simd::fma(half == 0 ? a : b, simd::set(x[m]), sum[m][half]);
    });
  }
#if PLAIT_BF16_DOT
  /// sum[m] += (a, b) x[m] for two columns: a, b and x are words of two bfloat16.
  [[gnu::always_inline]] void dot_bf16(simd::integers a, simd::integers b, float const* x) {
    for_sums([&](auto m, auto half) __attribute__((always_inline)) {
      sum[m][half] = simd::dot_bf16(sum[m][half], half == 0 ? a : b, simd::words(x[m]));
    });
  }
#endif
#if PLAIT_INT8_DOT
  /// sum[m] += (a, b) x[m] for four columns: a, b and x are words of four bytes.
  [[gnu::always_inline]] void dot_int8(simd::integers a, simd::integers b, float const* x) {
    for_sums([&](auto m, auto half) __attribute__((always_inline)) {
      sum[m][half] = simd::dot_int8(sum[m][half], half == 0 ? a : b, simd::words(x[m]));
    });
  }
#endif
  /// sum[m] += other[m] (a, b).
  [[gnu::always_inline]] void add_scaled(accumulators<Rows, products::bytes> const& other, packet a,
                                         packet b) {
    for_sums([&](auto m, auto half) __attribute__((always_inline)) {
      sum[m][half] = simd::fma(simd::value(other.sum[m][half]), half == 0 ? a : b, sum[m][half]);
    });
  }

 private:
  /// Calls body(m, half) with std::integral_constants. A fold, since g++ 12 spills sums that a loop
  /// indexes, even an unrolled one.
  template <class Body>
  [[gnu::always_inline]] static void for_sums(Body&& body) {
    [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
      (body(std::integral_constant<int, I / 2>{}, std::integral_constant<int, I % 2>{}), ...);
    }
    (std::make_integer_sequence<int, 2 * Rows>{});
  }
};

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
