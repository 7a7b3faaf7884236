// The map S -> a S + b, one step of a linear recurrence, and its composition. Composition is
// associative: one operator for a loop, `thrust::inclusive_scan` and the scan of a block.
// Test: tests/unit/ops/selective_scan/affine_gpu_test.cpp (the part with Thrust where its headers
//   are found)
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/gpu/block.hpp>

#include <concepts>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The map S -> a S + b.
template <std::floating_point T>
struct affine {
  T a, b;  // no initial values, which shared memory of a device cannot have
  static PLAIT_HD constexpr affine identity() { return {1, 0}; }
  friend constexpr bool operator==(affine const&, affine const&) = default;
};

/// N maps, composed elementwise.
template <int N, std::floating_point T = float>
struct affine_row {
  affine<T> of[N];
};

/// `first`, then `next`. Associative, not commutative; the operator of a plain loop,
/// thrust::inclusive_scan and the scan of a block (gpu/block.hpp; cub::BlockScan on a device).
/// Equation: S -> next.a (first.a S + first.b) + next.b
struct compose {
  template <std::floating_point T>
  PLAIT_HD constexpr affine<T> operator()(affine<T> const& first, affine<T> const& next) const {
    return {first.a * next.a, next.a * first.b + next.b};
  }
  template <int N, std::floating_point T>
  PLAIT_HD constexpr affine_row<N, T> operator()(affine_row<N, T> const& first,
                                                 affine_row<N, T> const& next) const {
    affine_row<N, T> both{};
    PLAIT_UNROLL
    for (int i = 0; i < N; ++i) both.of[i] = (*this)(first.of[i], next.of[i]);
    return both;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
