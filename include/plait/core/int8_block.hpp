// Blocks of 32 8-bit weights that share a scale.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// Columns of a row that share a scale.
/// Equation: value = scale (byte - 128); scale = max |value| / 127 as binary16, to the nearest;
///   bytes to the nearest, ties to even
/// Shapes: n at most 32, the other bytes are those of 0; the scale is what it returns
/// Errors: none. A block with a value that is not finite is NaN as a whole
/// Test: tests/unit/cpu/panel_matrix_test.cpp, tests/unit/gpu/device_storage_test.cpp
inline constexpr std::int64_t int8_block = 32;

/// Writes n values, and zeros up to int8_block, as value = scale * (byte - 128); returns the scale,
/// a binary16: the largest magnitude / 127. A block with a value that is not finite becomes NaN as
/// a whole.
inline std::uint16_t quantize_block(float const* values, std::int64_t n, std::uint8_t* bytes) {
  std::uint32_t most =
      0;  // of the magnitudes as integers, which order as the numbers do, infinity and NaN last
  for (std::int64_t c = 0; c < n; ++c)
    most = std::max(most, std::bit_cast<std::uint32_t>(values[c]) & 0x7fffffffu);
  float const largest = std::bit_cast<float>(most);
  std::uint16_t scale = most >= 0x7f800000u ? std::uint16_t{0x7e00} : to_f16(largest / 127.0f);
  if (from_f16(scale) * 127.5f < largest) ++scale;  // a subnormal scale rounded down too far
  float const inverse = scale != 0 && most < 0x7f800000u ? 1.0f / from_f16(scale) : 0.0f;
  // 1.5 * 2^23 + 128: a sum with it is rounded to an integer, which then stands in the lowest byte,
  // 128 added.
  constexpr float to_integer = 12582912.0f + 128.0f;
  float whole[int8_block] = {};
  if (inverse != 0) std::copy_n(values, n, whole);
  for (std::int64_t c = 0; c < int8_block; ++c)
    bytes[c] = static_cast<std::uint8_t>(
        std::bit_cast<std::uint32_t>(std::clamp(whole[c] * inverse, -127.0f, 127.0f) + to_integer));
  return scale;
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
