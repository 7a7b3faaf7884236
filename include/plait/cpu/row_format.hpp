// Packed form of one row of activations: f32, bf16 or int8 in 32-bit words.
// Test: tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace panels {

using simd::packet;
using simd::width;

/// One row of x as the microkernels read it: 32-bit words, which travel as floats. `words(k)` words
/// hold k values, `step` is the number of values converted together, and convert(row, first, n,
/// scale, out) writes the words of the values [first, first + n), `first` a multiple of `step`.
/// Equation: f32 as it is. bf16 to the nearest, ties to even. int8 to the nearest multiple of the
///   row's scale, the largest magnitude / 127: -127 to 127 times the scale
/// Shapes: f32 one value per word. bf16 two values per word, the first in the lower half, an odd
///   end padded with 0. int8 blocks of 32 values: -128 times their sum, which cancels the offset of
///   the weights' bytes, then four values per word. Without dot products of pairs
///   (PLAIT_BF16_DOT) or bytes (PLAIT_INT8_DOT) one value per word, as a float
/// Errors: none; a row with a value that is not finite has NaN as its int8 scale
template <dtype Activations>
struct row_format;

template <>
struct row_format<dtype::f32> {
  static constexpr std::int64_t step = 1;
  static constexpr std::int64_t words(std::int64_t k) { return k; }
};

template <>
struct row_format<dtype::bf16> {
  static constexpr std::int64_t step = 2;
  static constexpr std::int64_t words(std::int64_t k) {
    return PLAIT_BF16_DOT ? (k + 1) / 2 : (k + 1) / 2 * 2;
  }
  static void convert(float const* row, std::int64_t first, std::int64_t n, float, float* out) {
    row += first;
    std::int64_t i = 0;
#if PLAIT_BF16_DOT
#if PLAIT_AVX512_BF16
    for (; 2 * i + 32 <= n; i += 16) {
      auto const pairs = _mm512_cvtne2ps_pbh(simd::load(row + 2 * i + 16), simd::load(row + 2 * i));
      __builtin_memcpy(out + i, &pairs, sizeof(pairs));
    }
#endif
    for (; 2 * i + 1 < n; ++i)
      out[i] = std::bit_cast<float>(std::uint32_t{to_bf16(row[2 * i])} |
                                    std::uint32_t{to_bf16(row[2 * i + 1])} << 16);
    if (2 * i < n) out[i] = std::bit_cast<float>(std::uint32_t{to_bf16(row[2 * i])});
#else
    for (; i < n; ++i) out[i] = from_bf16(to_bf16(row[i]));
    if (n % 2 != 0) out[n] = 0;
#endif
  }
};

template <>
struct row_format<dtype::int8> {
  static constexpr std::int64_t step = 32;
  static constexpr std::int64_t block_words = PLAIT_INT8_DOT ? 1 + step / 4 : 1 + step;
  static constexpr std::int64_t words(std::int64_t k) {
    return (k + step - 1) / step * block_words;
  }

  /// The largest magnitude / 127; NaN where a value is not finite.
  static float scale(float const* row, std::int64_t k) {
    std::uint32_t largest = 0;  // bits of a magnitude: ordered as the magnitudes are
    for (std::int64_t i = 0; i < k; ++i)
      largest = std::max(largest, std::bit_cast<std::uint32_t>(row[i]) & 0x7fffffffu);
    return largest < 0x7f800000u ? std::bit_cast<float>(largest) / 127.0f
                                 : std::numeric_limits<float>::quiet_NaN();
  }

  static void convert(float const* row, std::int64_t first, std::int64_t n, float scale,
                      float* out) {
    // 0 also for a scale of NaN: the scale alone carries it.
    float const inverse = scale >= 0x1p-120f ? 1.0f / scale : 0.0f;
    packet const factor = simd::set(inverse);
    packet const high = simd::set(127.0f);
    packet const low = simd::set(-127.0f);
    packet const rounder = simd::set(12582912.0f);  // 1.5 2^23: the sum rounds to an integer
    for (std::int64_t block = 0; block < n; block += step, out += block_words) {
      alignas(64) float rounded[step];
      for (std::int64_t i = 0; i < step; i += width) {
        packet const x = n - block - i > 0 ? simd::load(row + first + block + i, n - block - i)
                                           : simd::set(0.0f);
        packet const r = simd::sub(simd::fma(x, factor, rounder), rounder);
        simd::store(rounded + i, simd::min(simd::max(r, low), high));
      }
      std::int32_t values[step];
      std::int32_t sum = 0;
      for (std::int64_t i = 0; i < step; ++i) {
        values[i] = static_cast<std::int32_t>(inverse != 0 ? rounded[i] : 0.0f);
        sum += values[i];
      }
#if PLAIT_INT8_DOT
      out[0] = std::bit_cast<float>(simd::keeps_offset ? -128 * sum : 0);
      std::int8_t bytes[step];
      for (std::int64_t i = 0; i < step; ++i) bytes[i] = static_cast<std::int8_t>(values[i]);
      __builtin_memcpy(out + 1, bytes, sizeof(bytes));
#else
      out[0] = static_cast<float>(-128 * sum);
      for (std::int64_t i = 0; i < step; ++i) out[1 + i] = static_cast<float>(values[i]);
#endif
    }
  }
};

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
