// Vector registers and the functions computed in them: Eigen's packets, plait's own exp.
//
// Every function here does the same operations in every lane, whatever the width of a register and
// wherever a value stands, so that results do not depend on the instruction set, on alignment or on
// how a range is cut (docs/design.md, numerics). Vector registers, in `simd`: Eigen's packets under
// short names, and plait's own exp, exp2, silu and softplus with the same operations in every lane.
// Equation: exp(x) = 2^n 2^f, the remainder reduced with two constants and put into a polynomial of
//   degree 6; exp2(x) for x <= 0 the same with an exact remainder and degree 5; exp_minus(x) =
//   exp(-x) with two constants and degree 5, in silu(x) = x / (1 + exp(-x)) and softplus(x) =
//   max(x, 0) + log1p(u) with u = exp(-|x|), log1p as u times a polynomial. `times_power` adds n to
//   the exponents of p, `shifted` being n + 1.5 2^23. `lane_sum`: value i goes to chain i mod 16,
//   the chains are added pairwise
// Shapes: exp has a relative error below 1.3e-7 on [-86.9, 88.3] and is clamped outside; exp2
//   1.8e-7 (absolute 1.3e-7, towards 0 one rounding) on [-125, 0], clamped below; exp_minus 1.8e-7
//   on [-86.6, 86.6]; silu and softplus below 3e-7 from -86.6 up; NaN stays NaN, but in exp2 and
//   exp_minus only one without a payload, the rest is up to their callers. A partial load reads n
//   floats and pads with zeros; `add_values` takes multiples of 16
// Cost: exp 16 vector operations, exp2 11, silu 16 with a division, softplus 25
// Source: exp's polynomial and constants: S. Moshier's Cephes library; the others' are minimax fits
//   in the relative error, 1 at 0
// Test: tests/unit/cpu/simd_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

// g++ 12 takes its own `__m512 __Y = __Y;` in <immintrin.h> for an uninitialized use (GCC PR
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
/// Floats of a register.
inline constexpr int width = PLAIT_PACKET;

/// The same value in every lane.
inline packet set(float x) { return Eigen::internal::pset1<packet>(x); }
inline packet load(float const* p) { return Eigen::internal::ploadu<packet>(p); }
inline void store(float* p, packet x) { Eigen::internal::pstoreu(p, x); }
/// Lane by lane.
inline packet add(packet a, packet b) { return Eigen::internal::padd(a, b); }
/// Lane by lane.
inline packet sub(packet a, packet b) { return Eigen::internal::psub(a, b); }
/// Lane by lane.
inline packet mul(packet a, packet b) { return Eigen::internal::pmul(a, b); }
/// Lane by lane.
inline packet div(packet a, packet b) { return Eigen::internal::pdiv(a, b); }
/// a * b + c, fused wherever the instruction set can.
#if PLAIT_PACKET == 8
inline packet fma(packet a, packet b, packet c) {
  return _mm256_fmadd_ps(a, b, c);
}  // Eigen's is assembly that overwrites c with clang
#else
inline packet fma(packet a, packet b, packet c) { return Eigen::internal::pmadd(a, b, c); }
#endif
/// The larger or smaller; a where a is NaN.
inline packet max(packet a, packet b) { return Eigen::internal::pmax(a, b); }
inline packet min(packet a, packet b) { return Eigen::internal::pmin(a, b); }

/// The first n < width values from p, zeros behind them; nothing beyond p[n - 1] is read.
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

/// Calls body(first, count) for [0, n) in runs of one register; count < width only in the last.
template <class Body>
inline void for_each_packet(std::int64_t n, Body&& body) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) body(i, std::int64_t{width});
  if (i < n) body(i, n - i);
}

/// p * 2^n where `shifted` is n + 1.5 * 2^23, by adding n to the bits of p's exponent: neither may
/// leave the range of normal numbers. Of a NaN in `shifted` the low bits of its payload are added.
inline packet times_power(packet p, packet shifted) {
  auto const power =
      Eigen::internal::plogical_shift_left<23>(Eigen::internal::preinterpret<integers>(shifted));
  return Eigen::internal::preinterpret<packet>(
      Eigen::internal::padd(Eigen::internal::preinterpret<integers>(p), power));
}

/// exp(x), relative error below 1.3e-7 on [-86.9, 88.3]; clamped to that range outside, NaN stays
/// NaN. 2^n * 2^f with two-constant reduction and a polynomial of degree 6 in the remainder
/// (constants of S. Moshier's Cephes library).
inline packet exp(packet x) {
  x = min(max(x, set(-86.9f)), set(88.3f));
  packet const rounder = set(
      12582912.0f +
      127.0f);  // 1.5 * 2^23 rounds to an integer; with the bias, the low bits are 2^n's exponent
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
  return mul(p, Eigen::internal::preinterpret<packet>(
                    power));  // a product, not an addition to the exponent's bits: NaN stays NaN
}
inline float exp(float x) { return Eigen::internal::pfirst(exp(set(x))); }

/// 2^x for x <= 0, relative error below 1.8e-7 (1.5 ulp), absolute error below 1.3e-7; 1 at 0,
/// 2^-125 below -125. A NaN that arithmetic made (no payload) stays NaN; any other may become a
/// number, so that the caller's sum has to show it by another way. 2^n * 2^f with f in [-1/2, 1/2]:
/// 1 + f * polynomial, minimax in the relative error, so that the error falls to nothing towards 0,
/// where factors of slow channels lie; n is added to the exponent's bits. A third fewer operations
/// than exp.
inline packet exp2(packet x) {
  x = max(x, set(-125.0f));
  packet const rounder =
      set(12582912.0f);  // 1.5 * 2^23 rounds to an integer, which is in the low bits then
  packet const shifted = add(x, rounder), f = sub(x, sub(shifted, rounder));
  packet p = set(0.00132695551f);
  p = fma(p, f, set(0.0096712932f));
  p = fma(p, f, set(0.0555071086f));
  p = fma(p, f, set(0.240222469f));
  p = fma(p, f, set(0.693147004f));
  return times_power(fma(p, f, set(1.0f)), shifted);
}

/// exp(-x) for |x| <= 86.6, relative error below 1.8e-7: for gates, which look after NaN.
/// Two-constant reduction as in exp, polynomial and exponent as in exp2.
inline packet exp_minus(packet x) {
  packet const rounder = set(12582912.0f), shifted = fma(x, set(-1.44269504088896341f), rounder),
               n = sub(shifted, rounder);
  packet const r = fma(n, set(1.42860682030941723212e-6f), fma(n, set(0.693145751953125f), x));
  packet p = set(-0.00828956626f);
  p = fma(p, r, set(0.0418978296f));
  p = fma(p, r, set(-0.166676491f));
  p = fma(p, r, set(0.499991506f));
  p = fma(p, r, set(-0.999999702f));
  return times_power(fma(p, r, set(1.0f)), shifted);
}

/// x / (1 + exp(-x)), relative error below 3e-7 from -86.6 up; below, where exp is clamped, the
/// value there, -2e-36.
inline packet silu(packet x) {
  x = max(x, set(-86.6f));
  return div(x, add(set(1.0f), exp_minus(min(x, set(86.6f)))));
}

/// max(x, 0) + log(1 + exp(-|x|)), relative error below 3e-7 from -86.6 up: log1p as u times a
/// polynomial on (0, 1].
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

/// A sum in 16 chains whatever the register width: value i goes to chain i mod 16, and the chains
/// are added pairwise at the end.
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
