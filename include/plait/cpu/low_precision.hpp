// Vector registers of low-precision values: bfloat16, binary16 and bytes widened to floats, and dot
// products of their pairs and quadruples.
// Equation: widening is exact. `dot_bf16` adds the product of the upper halves, then that of the
//   lower ones, each with one rounding, with subnormal values as zero. `dot_int8` adds four
//   products of an unsigned and a signed byte, exactly. On AVX2 it subtracts the unsigned operand's
//   offset of 128 first (`keeps_offset` is false), because its products are summed in 16 bits
// Shapes: `dot_bf16` exists with AVX512_BF16 (`PLAIT_BF16_DOT`), `dot_int8` with AVX512_VNNI,
//   AVX_VNNI or AVX2 (`PLAIT_INT8_DOT`)
// Cost: one instruction per dot product, four on AVX2 without VNNI; two or three to widen bytes
// Test: tests/unit/ops/linear/precision_test.cpp, tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/cpu/simd.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

PLAIT_NAMESPACE_BEGIN
namespace simd {

/// One register of 32-bit words of any type.
inline integers words(void const* p) {
  return Eigen::internal::preinterpret<integers>(load(static_cast<float const*>(p)));
}
/// The 32 bits of x in every lane.
inline integers words(float x) { return Eigen::internal::preinterpret<integers>(set(x)); }

/// The bfloat16 in the lower or upper half of each word, as floats.
inline packet lower(integers w) {
  return Eigen::internal::preinterpret<packet>(Eigen::internal::plogical_shift_left<16>(w));
}
inline packet upper(integers w) {
  return Eigen::internal::preinterpret<packet>(
      Eigen::internal::pand(w, Eigen::internal::pset1<integers>(static_cast<int>(0xffff0000u))));
}
/// Byte B of each word, 0 to 255, as floats.
template <int B>
inline packet byte(integers w) {
  integers const shifted = B == 0 ? w : Eigen::internal::plogical_shift_right<8 * B>(w);
  return Eigen::internal::pcast<integers, packet>(
      B == 3 ? shifted : Eigen::internal::pand(shifted, Eigen::internal::pset1<integers>(255)));
}

/// One register of bfloat16 (load) or binary16 (load_f16) values from memory.
inline packet load(bf16_t const* p) {
#if PLAIT_PACKET == 16
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))), 16));
#elif PLAIT_PACKET == 8
  return _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))), 16));
#else
  alignas(64) float lanes[width];
  for (int i = 0; i < width; ++i) lanes[i] = from_bf16(p[i].bits);
  return load(lanes);
#endif
}
inline packet load_f16(void const* p) {
#if PLAIT_PACKET == 16
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<__m256i const*>(p)));
#elif PLAIT_PACKET == 8 && defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<__m128i const*>(p)));
#else
  alignas(64) float lanes[width];
  std::uint16_t bits[width];
  std::memcpy(bits, p, sizeof(bits));
  for (int i = 0; i < width; ++i) lanes[i] = from_f16(bits[i]);
  return load(lanes);
#endif
}

#if PLAIT_BF16_DOT
/// Name of the instruction, for benchmarks.
inline constexpr char const* dot_bf16_name = "bf16 dot (AVX512_BF16)";
/// sum + the products of the bfloat16 in the words of w and x.
inline packet dot_bf16(packet sum, integers w, integers x) {
  // Not the intrinsic: g++ 12 spills its accumulators.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
}
#endif

#if PLAIT_INT8_DOT
/// Sums of products of bytes: w unsigned, the weights as stored, x signed, from -127 to 127.
/// Integers where there are dot products of bytes, else floats, exact below 2^24. `byte_sum_of` has
/// the word x in each lane.
using byte_sum = integers;
inline byte_sum byte_sum_of(float x) { return words(x); }
inline packet value(byte_sum sum) { return Eigen::internal::pcast<integers, packet>(sum); }
#else
using byte_sum = packet;
inline byte_sum byte_sum_of(float x) { return set(x); }
inline packet value(byte_sum sum) { return sum; }
#endif

#if PLAIT_INT8_DOT
#if PLAIT_AVX512_VNNI
/// Whether the products include w's offset of 128, which the caller then cancels.
inline constexpr bool keeps_offset = true;
inline constexpr char const* dot_int8_name = "int8 dot (AVX512_VNNI)";
inline byte_sum dot_int8(byte_sum sum, integers w, integers x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
}
#elif PLAIT_AVX_VNNI
inline constexpr bool keeps_offset = true;
inline constexpr char const* dot_int8_name = "int8 dot (AVX_VNNI)";
inline byte_sum dot_int8(byte_sum sum, integers w, integers x) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(x));
  return sum;
}
#else
inline constexpr bool keeps_offset = false;
inline constexpr char const* dot_int8_name = "int8 multiply-add of pairs (AVX2)";
inline byte_sum dot_int8(byte_sum sum, integers w, integers x) {
  // Unsigned times signed with 16-bit sums: moving the sign of x to w makes two products, of at
  // most 127 * 128 each, fit.
  __m256i const weights = _mm256_xor_si256(w, _mm256_set1_epi8(static_cast<char>(0x80)));
  __m256i const pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(weights, x));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
#endif

}  // namespace simd
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
