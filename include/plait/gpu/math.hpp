// Arithmetic of kernels: on a device its instructions, on the host plain functions.
// Equation: log(1 + e^x) = max(x, 0) + e P(e) with e = e^-|x| and P of degree 9, with a relative
//   error of 1.4e-7 besides that of e, for small results too
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp,
//   tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// 2^x: one instruction, ex2.approx, with an error of 2 units in the last place.
PLAIT_HD inline float exp2(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}
/// e^x, by exp2.
PLAIT_HD inline float exp(float x) { return kernels::exp2(x * 1.44269504f); }

/// x / y by a reciprocal and a product, with an error of 2 units in the last place, for |y| up to
/// 2^126; for larger y a zero with the sign of x / y.
PLAIT_HD inline float quotient(float x, float y) {
#if defined(__CUDA_ARCH__)
  float q;
  asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(q) : "f"(x), "f"(y));
  return q;
#else
  return x / y;
#endif
}

/// log(1 + e^x), without overflow: max(x, 0) + log(1 + e) with e = e^-|x| <= 1. log(1 + e) / e is a
/// polynomial of degree 9 (maximum relative error 5e-9, 1.4e-7 with its roundings), so that small
/// results keep their digits.
PLAIT_HD inline float softplus(float x) {
  float const e = kernels::exp(-fabsf(x));
  float p = -0.0032440247f;
  p = fmaf(p, e, 0.0198514592f);
  p = fmaf(p, e, -0.0569595285f);
  p = fmaf(p, e, 0.1060365438f);
  p = fmaf(p, e, -0.1530559212f);
  p = fmaf(p, e, 0.1967593879f);
  p = fmaf(p, e, -0.2495413423f);
  p = fmaf(p, e, 0.3332996368f);
  p = fmaf(p, e, -0.4999990165f);
  p = fmaf(p, e, 1.0f);
  return fmaf(p, e, fmaxf(x, 0.0f));
}

/// x / (1 + e^-x).
PLAIT_HD inline float silu(float x) { return quotient(x, 1.0f + kernels::exp(-x)); }

/// An activation, float or bf16_t, as a float.
PLAIT_HD inline float widen(float x) { return x; }
PLAIT_HD inline float widen(bf16_t x) { return from_bf16(x.bits); }

/// x rounded to the nearest T, ties to even.
template <class T>
PLAIT_HD inline T narrow(float x) {
  if constexpr (std::is_same_v<T, bf16_t>) {
    bf16_t y;
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    y.bits = to_bf16(x);
#endif
    return y;
  } else {
    return x;
  }
}

/// One of two bf16 in a word; the first is the lower half.
PLAIT_HD inline float low_half(std::uint32_t word) { return std::bit_cast<float>(word << 16); }
PLAIT_HD inline float high_half(std::uint32_t word) {
  return std::bit_cast<float>(word & 0xffff0000u);
}
/// A word of two floats rounded to the nearest bf16.
PLAIT_HD inline std::uint32_t narrow_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return std::uint32_t{to_bf16(low)} | std::uint32_t{to_bf16(high)} << 16;
#endif
}

/// Words that are loaded or stored at once, for values of any type: they may alias it.
struct [[gnu::may_alias]] words4 {
  alignas(16) std::uint32_t word[4];
};
struct [[gnu::may_alias]] words2 {
  alignas(8) std::uint32_t word[2];
};
using words1 = std::uint32_t __attribute__((may_alias));

/// Loads values that are read once, without allocating lines in the L1 cache. No thread of the grid
/// may write them.
PLAIT_HD inline words4 load_once(words4 const* from) {
#if defined(__CUDA_ARCH__)
  words4 w;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(w.word[0]), "=r"(w.word[1]), "=r"(w.word[2]), "=r"(w.word[3])
      : "l"(from));
  return w;
#else
  return *from;
#endif
}

/// A binary16 as a float.
PLAIT_HD inline float widen_f16(std::uint16_t bits) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
  return y;
#else
  return from_f16(bits);
#endif
}

/// a - b for two bf16 per word.
PLAIT_HD inline std::uint32_t subtract_pairs(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t d;
  // a - 1 b: sub.bf16x2 begins with sm_90.
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(b), "r"(0xbf80bf80u), "r"(a));
  return d;
#else
  return std::uint32_t{to_bf16(low_half(a) - low_half(b))} |
         std::uint32_t{to_bf16(high_half(a) - high_half(b))} << 16;
#endif
}

/// A word of four int8 as bf16, exactly: bytes 0 and 2 to `even`, 1 and 3 to `odd`. With the
/// exponent of 128, the lower 7 bits of a byte make 128 + their value, and the sign bit alone makes
/// 128 or 256: the difference is the byte in two's complement.
PLAIT_HD inline void int8_to_bf16(std::uint32_t bytes, std::uint32_t& even, std::uint32_t& odd) {
  constexpr std::uint32_t low = 0x007f007fu;
  constexpr std::uint32_t sign = 0x00800080u;
  constexpr std::uint32_t from_128 = 0x43004300u;
  even = subtract_pairs((bytes & low) | from_128, (bytes & sign) | from_128);
  bytes >>= 8;
  odd = subtract_pairs((bytes & low) | from_128, (bytes & sign) | from_128);
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
