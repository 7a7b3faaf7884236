// Arithmetic of kernels: the device's instructions where there is one, plain functions on this machine.
#pragma once

#include <plait/core/half.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

namespace plait::inline PLAIT_ABI::kernels {

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

/// log(1 + e^x), without overflow.
PLAIT_HD inline float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

/// x / (1 + e^-x)
PLAIT_HD inline float silu(float x) { return x / (1.0f + kernels::exp(-x)); }

/// Activations are float or bf16_t.
PLAIT_HD inline float widen(float x) { return x; }
PLAIT_HD inline float widen(bf16_t x) { return from_bf16(x.bits); }

/// To the nearest T, ties to the even one.
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

/// Two bf16 in a word, the first one in the lower half.
PLAIT_HD inline float low_half(std::uint32_t word) { return std::bit_cast<float>(word << 16); }
PLAIT_HD inline float high_half(std::uint32_t word) { return std::bit_cast<float>(word & 0xffff0000u); }

/// Bytes that are loaded or stored at once.
struct words4 {
  alignas(16) std::uint32_t word[4];
};
struct words2 {
  alignas(8) std::uint32_t word[2];
};

}  // namespace plait::inline PLAIT_ABI::kernels
