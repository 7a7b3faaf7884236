// Quantisation of weights to int8 in blocks of 32 that share a scale.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// Columns of a row that share a scale.
inline constexpr std::int64_t int8_block = 32;

/// Quantises a block to bytes and returns its scale as binary16.
/// Equation: value = scale (byte - 128); scale = max |value| / 127, rounded to the nearest
///   binary16; bytes are rounded to the nearest, ties to even
/// Shapes: `values` [n], n at most 32; `bytes` [int8_block], of which the bytes from n on encode 0
/// Errors: none. A block with a value that is not finite is NaN throughout
/// Test: tests/unit/cpu/panel_matrix_test.cpp, tests/unit/gpu/device_storage_test.cpp
inline std::uint16_t quantize_block(float const* values, std::int64_t n, std::uint8_t* bytes) {
  // The bits of magnitudes order as the magnitudes do, infinity and NaN last.
  std::uint32_t max_bits = 0;
  for (std::int64_t c = 0; c < n; ++c)
    max_bits = std::max(max_bits, std::bit_cast<std::uint32_t>(values[c]) & 0x7fffffffu);
  float const max_magnitude = std::bit_cast<float>(max_bits);
  std::uint16_t scale =
      max_bits >= 0x7f800000u ? std::uint16_t{0x7e00} : to_f16(max_magnitude / 127.0f);
  if (from_f16(scale) * 127.5f < max_magnitude) ++scale;  // a subnormal scale rounded down too far
  float const inverse = scale != 0 && max_bits < 0x7f800000u ? 1.0f / from_f16(scale) : 0.0f;
  // A sum with 1.5 * 2^23 + 128 is rounded to an integer; its lowest byte is that integer plus 128.
  constexpr float to_integer = 12582912.0f + 128.0f;
  float padded[int8_block] = {};
  if (inverse != 0) std::copy_n(values, n, padded);
  for (std::int64_t c = 0; c < int8_block; ++c)
    bytes[c] = static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(
        std::clamp(padded[c] * inverse, -127.0f, 127.0f) + to_integer));
  return scale;
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
