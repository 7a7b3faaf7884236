// Vector registers of narrow values: bfloat16 and bytes widened to float, and the dot products of their pieces.
//
// Where the instruction set has no dot product, the same sums are made in f32: of bfloat16 pairs the upper product is added first, then
// the lower, each with one rounding, as the instruction does (subnormal values apart, which it takes for zero); sums of bytes are exact.
#pragma once

#include <plait/core/half.hpp>
#include <plait/ops/cpu/simd.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace plait::inline PLAIT_ABI::simd {

/// One register of 32-bit words, whatever they hold.
inline integers words(void const* p) { return Eigen::internal::preinterpret<integers>(load(static_cast<float const*>(p))); }
/// The 32 bits of x in every lane.
inline integers words(float x) { return Eigen::internal::preinterpret<integers>(set(x)); }

/// The bfloat16 in the lower or upper half of every word, as floats.
inline packet lower(integers w) { return Eigen::internal::preinterpret<packet>(Eigen::internal::plogical_shift_left<16>(w)); }
inline packet upper(integers w) {
  return Eigen::internal::preinterpret<packet>(
      Eigen::internal::pand(w, Eigen::internal::pset1<integers>(static_cast<int>(0xffff0000u))));
}
/// Byte B of every word, 0 to 255, as floats.
template <int B>
inline packet byte(integers w) {
  integers const shifted = B == 0 ? w : Eigen::internal::plogical_shift_right<8 * B>(w);
  return Eigen::internal::pcast<integers, packet>(B == 3 ? shifted : Eigen::internal::pand(shifted, Eigen::internal::pset1<integers>(255)));
}

/// One register of bfloat16 or binary16 values from memory.
inline packet load(bf16_t const* p) {
#if PLAIT_PACKET == 16
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))), 16));
#elif PLAIT_PACKET == 8
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))), 16));
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

/// sum + the products of the bfloat16 in the words of w and x.
inline packet dot_bf16(packet sum, integers w, integers x) {
#if PLAIT_BF16_DOT
  // Not the intrinsic: g++ 12 spills its accumulators.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
#else
  return fma(lower(w), lower(x), fma(upper(w), upper(x), sum));
#endif
}

#if PLAIT_INT8_DOT
/// A sum of products of bytes, and the activations' side of it.
using byte_sum = integers;
inline byte_sum dot_int8(byte_sum sum, integers w, integers x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
}
inline packet value(byte_sum sum) { return Eigen::internal::pcast<integers, packet>(sum); }
#endif

}  // namespace plait::inline PLAIT_ABI::simd
