// The 16-bit floating-point formats: widened to float exactly, and rounded from it.
// Equation: bfloat16 is the upper half of a float; binary16 is rebiased, its subnormals are
//   normalised. Widening is exact: infinities and NaN payloads stay. Rounding is to nearest, ties
//   to even, overflow to infinity; a NaN stays a NaN, quiet
// Cost: bfloat16 a shift; binary16 about ten integer operations without a branch, so that loops
//   vectorize
// Source: IEEE 754-2019
// Test: tests/unit/core/half_test.cpp, each of the 65,536 values of both
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <bit>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// bfloat16 to float.
constexpr float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// float to bfloat16.
constexpr std::uint16_t to_bf16(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  // Both are computed, so that loops vectorize.
  std::uint32_t const rounded = bits + 0x7fffu + (bits >> 16 & 1u);
  std::uint32_t const quiet = bits | 0x400000u;
  return static_cast<std::uint16_t>(((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded) >> 16);
}

/// binary16 to float. Every case is computed and masks select one, so that loops vectorize: g++
/// does not vectorize a floating-point product under a condition. Subnormals are converted from an
/// integer, so that the flush-to-zero mode of a caller does not lose them.
constexpr float from_f16(std::uint16_t bits) {
  std::uint32_t const magnitude = bits & 0x7fffu;
  std::uint32_t const exponent = bits & 0x7c00u;
  std::uint32_t const rebias = std::uint32_t{127 - 15} << 23;
  std::uint32_t const normal = (magnitude << 13) + rebias;
  // Exponent 31 becomes 255: infinity, or NaN with its payload.
  std::uint32_t const special = normal + rebias;
  std::uint32_t const subnormal = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  std::uint32_t const is_subnormal = 0u - std::uint32_t{exponent == 0};
  std::uint32_t const is_special = 0u - std::uint32_t{exponent == 0x7c00u};
  std::uint32_t const value =
      (subnormal & is_subnormal) | (special & is_special) | (normal & ~(is_subnormal | is_special));
  return std::bit_cast<float>(value | (std::uint32_t{bits & 0x8000u} << 16));
}

/// float to binary16.
constexpr std::uint16_t to_f16(float value) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value);
  std::uint32_t const magnitude = bits & 0x7fffffffu;
  auto const with_sign = [&](std::uint32_t m) {
    return static_cast<std::uint16_t>(m | (bits >> 16 & 0x8000u));
  };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00u);
  if (magnitude >= 0x47800000u) return with_sign(0x7c00u);  // from 65536 on
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 rounds to a multiple of 2^-24
    float const sum = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<std::uint32_t>(sum) - 0x3f000000u);
  }
  return with_sign((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13);
}

/// A bfloat16 in memory.
struct bf16_t {
  std::uint16_t bits = 0;
  bf16_t() = default;
  constexpr explicit bf16_t(float value) : bits(to_bf16(value)) {}
  constexpr explicit operator float() const { return from_bf16(bits); }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
