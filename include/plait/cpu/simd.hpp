// Vector registers of floats, Eigen's packets under short names, and plait's own exp, exp2, silu
// and softplus.
//
// Each function does the same operations in each lane, for any register width and any position of a
// value: so results do not depend on the instruction set, on alignment or on how a range is cut
// (docs/design.md, numerics).
// Equation: exp(x) = 2^n 2^f, the remainder reduced with two constants and put into a polynomial of
//   degree 6; exp2(x) for x <= 0 the same with an exact remainder and degree 5; exp_minus(x) =
//   exp(-x) with two constants and degree 5, in silu(x) = x / (1 + exp(-x)) and softplus(x) =
//   max(x, 0) + log1p(u) with u = exp(-|x|), log1p as u times a polynomial. `lane_sum`: value i
//   goes to chain i mod 16, the chains are added pairwise
// Shapes: exp has a relative error below 1.3e-7 on [-86.9, 88.3] and is clamped outside; exp2
//   1.8e-7 (absolute 1.3e-7, towards 0 one rounding) on [-125, 0], clamped below; exp_minus 1.8e-7
//   on [-86.6, 86.6]; silu and softplus below 3e-7 from -86.6 up; NaN stays NaN, in exp2 and
//   exp_minus only one without a payload: their callers handle the others. A partial load reads n
//   floats and pads with zeros; `add_values` takes multiples of 16
// Cost: exp 16 vector operations, exp2 11, silu 16 with a division, softplus 25
// Source: exp's polynomial and constants: S. Moshier's Cephes library; the others are minimax fits
//   of the relative error with the value 1 at 0
// Test: tests/unit/cpu/simd_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

// g++ 12 warns of an uninitialized use in its own <immintrin.h>, `__m512 __Y = __Y;` (GCC PR
// 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <Eigen/Core>
#pragma GCC diagnostic pop
#else
#include <Eigen/Core>
#endif

#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace simd {

#if PLAIT_PACKET == 16
/// A vector register of floats.
using packet = Eigen::internal::Packet16f;
/// A vector register of 32-bit integers.
using integers = Eigen::internal::Packet16i;
#elif PLAIT_PACKET == 8
using packet = Eigen::internal::Packet8f;
using integers = Eigen::internal::Packet8i;
#else
using packet = Eigen::internal::Packet4f;
using integers = Eigen::internal::Packet4i;
#endif
/// Floats per register.
inline constexpr int width = PLAIT_PACKET;

/// The same value in each lane.
inline packet set(float x) { return Eigen::internal::pset1<packet>(x); }
inline packet load(float const* p) { return Eigen::internal::ploadu<packet>(p); }
inline void store(float* p, packet x) { Eigen::internal::pstoreu(p, x); }
/// a + b.
inline packet add(packet a, packet b) { return Eigen::internal::padd(a, b); }
/// a - b.
inline packet sub(packet a, packet b) { return Eigen::internal::psub(a, b); }
/// a * b.
inline packet mul(packet a, packet b) { return Eigen::internal::pmul(a, b); }
/// a / b.
inline packet div(packet a, packet b) { return Eigen::internal::pdiv(a, b); }
/// a * b + c, fused wherever the instruction set can.
#if PLAIT_PACKET == 8
// Not Eigen's pmadd, which with clang is inline assembly that overwrites c.
inline packet fma(packet a, packet b, packet c) { return _mm256_fmadd_ps(a, b, c); }
#else
inline packet fma(packet a, packet b, packet c) { return Eigen::internal::pmadd(a, b, c); }
#endif
/// The maximum or minimum; a where a is NaN.
inline packet max(packet a, packet b) { return Eigen::internal::pmax(a, b); }
inline packet min(packet a, packet b) { return Eigen::internal::pmin(a, b); }

/// The values p[0] to p[n - 1], padded with zeros. Reads nothing beyond them.
inline packet load(float const* p, std::int64_t n) {
  if (n >= width) return load(p);
  alignas(64) float lanes[width] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
inline void store(float* p, packet x, std::int64_t n) {
  if (n >= width) return store(p, x);
  alignas(64) float lanes[width];
  store(lanes, x);
  for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

/// Calls body(first, count) for [0, n), a register at a time; count < width only in the last call.
template <class Body>
inline void for_each_packet(std::int64_t n, Body&& body) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) body(i, std::int64_t{width});
  if (i < n) body(i, n - i);
}

/// p 2^n where `shifted` is n + 1.5 2^23: adds n to the bits of p's exponent. p and the result must
/// be normal numbers. A NaN in `shifted` adds the low bits of its payload.
inline packet times_power(packet p, packet shifted) {
  auto const power =
      Eigen::internal::plogical_shift_left<23>(Eigen::internal::preinterpret<integers>(shifted));
  return Eigen::internal::preinterpret<packet>(
      Eigen::internal::padd(Eigen::internal::preinterpret<integers>(p), power));
}

/// exp(x), x clamped to [-86.9, 88.3]; NaN stays NaN.
inline packet exp(packet x) {
  x = min(max(x, set(-86.9f)), set(88.3f));
  // Adding 1.5 2^23 rounds to an integer; with the bias 127, the low bits are the exponent of 2^n.
  packet const rounder = set(12582912.0f + 127.0f);
  packet const shifted = fma(x, set(1.44269504088896341f), rounder);
  packet const n = sub(shifted, rounder);
  packet r = fma(n, set(-0.693145751953125f), x);
  r = fma(n, set(-1.42860682030941723212e-6f), r);
  packet p = set(1.9875691500e-4f);
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(mul(p, r), r, add(r, set(1.0f)));
  auto const power =
      Eigen::internal::plogical_shift_left<23>(Eigen::internal::preinterpret<integers>(shifted));
  // A product rather than an addition to the exponent's bits: NaN stays NaN.
  return mul(p, Eigen::internal::preinterpret<packet>(power));
}
inline float exp(float x) { return Eigen::internal::pfirst(exp(set(x))); }

/// 2^x for x <= 0: 1 at 0, 2^-125 below -125. A NaN of arithmetic, without a payload, stays NaN;
/// any other may become a number, which the caller has to handle. The form 1 + f times a polynomial
/// reduces the error to one rounding as x approaches 0, where the decay factors of slow channels
/// are.
inline packet exp2(packet x) {
  x = max(x, set(-125.0f));
  // Adding 1.5 2^23 rounds to an integer and leaves it in the low bits.
  packet const rounder = set(12582912.0f);
  packet const shifted = add(x, rounder);
  packet const f = sub(x, sub(shifted, rounder));
  packet p = set(0.00132695551f);
  p = fma(p, f, set(0.0096712932f));
  p = fma(p, f, set(0.0555071086f));
  p = fma(p, f, set(0.240222469f));
  p = fma(p, f, set(0.693147004f));
  return times_power(fma(p, f, set(1.0f)), shifted);
}

/// exp(-x) for |x| <= 86.6, for activations, which handle NaN: reduction as in exp, polynomial and
/// exponent as in exp2.
inline packet exp_minus(packet x) {
  packet const rounder = set(12582912.0f);
  packet const shifted = fma(x, set(-1.44269504088896341f), rounder);
  packet const n = sub(shifted, rounder);
  packet const r = fma(n, set(1.42860682030941723212e-6f), fma(n, set(0.693145751953125f), x));
  packet p = set(-0.00828956626f);
  p = fma(p, r, set(0.0418978296f));
  p = fma(p, r, set(-0.166676491f));
  p = fma(p, r, set(0.499991506f));
  p = fma(p, r, set(-0.999999702f));
  return times_power(fma(p, r, set(1.0f)), shifted);
}

/// x / (1 + exp(-x)); below -86.6, where exp is clamped, -2e-36, the value at -86.6.
inline packet silu(packet x) {
  x = max(x, set(-86.6f));
  return div(x, add(set(1.0f), exp_minus(min(x, set(86.6f)))));
}

/// max(x, 0) + log1p(exp(-|x|)).
inline packet softplus(packet x) {
  packet const u = exp_minus(min(Eigen::internal::pabs(x), set(86.6f)));
  packet q = set(-0.00324402121f);
  q = fma(q, u, set(0.0198514443f));
  q = fma(q, u, set(-0.0569594987f));
  q = fma(q, u, set(0.106036514f));
  q = fma(q, u, set(-0.153055906f));
  q = fma(q, u, set(0.196759388f));
  q = fma(q, u, set(-0.249541342f));
  q = fma(q, u, set(0.333299637f));
  q = fma(q, u, set(-0.499999017f));
  q = fma(q, u, set(1.0f));
  return fma(q, u, max(x, set(0.0f)));
}

/// A sum in 16 chains for any register width: its bits do not depend on the instruction set.
class lane_sum {
 public:
  lane_sum() {
    for (packet& c : chain_) c = set(0.0f);
  }
  /// Adds a[i] * b[i] for i in [0, n).
  void add_products(float const* a, float const* b, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16)
      for (int j = 0; j < registers; ++j)
        chain_[j] = fma(load(a + i + j * width), load(b + i + j * width), chain_[j]);
    for (int j = 0; i < n; i += width, ++j)
      chain_[j] = fma(load(a + i, n - i), load(b + i, n - i), chain_[j]);
  }
  /// Adds a[i] for i in [0, n), n a multiple of 16.
  void add_values(float const* a, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += 16)
      for (int j = 0; j < registers; ++j) chain_[j] = add(chain_[j], load(a + i + j * width));
  }
  float total() const {
    alignas(64) float lanes[16];
    for (int j = 0; j < registers; ++j) store(lanes + j * width, chain_[j]);
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
  }

 private:
  static constexpr int registers = 16 / width;
  packet chain_[registers];
};

}  // namespace simd
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
