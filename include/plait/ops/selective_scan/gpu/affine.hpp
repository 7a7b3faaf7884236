// One step of a recurrence as a value that can be composed: what a parallel scan over tokens scans.
// The map S -> a S + b, and its composition, which is associative: one operator for a loop,
// `thrust::inclusive_scan` and a block's scan.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/gpu/block.hpp>

#include <concepts>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The map S -> a S + b.
/// Equation: first, then next: S -> next.a (first.a S + first.b) + next.b
/// Test: tests/unit/ops/selective_scan/affine_gpu_test.cpp; the part with Thrust where its headers
/// are found
template <std::floating_point T>
struct affine {
  T a, b;  // no initial values: shared memory of the device takes none
  static PLAIT_HD constexpr affine identity() { return {1, 0}; }
  friend constexpr bool operator==(affine const&, affine const&) = default;
};

/// Maps side by side that are composed each with its own.
template <int N, std::floating_point T = float>
struct affine_row {
  affine<T> of[N];
};

/// `first`, then `next`: S -> next.a (first.a S + first.b) + next.b. Associative, not commutative.
/// A plain loop, thrust::inclusive_scan and a block's scan (gpu/block.hpp; cub::BlockScan on the
/// device) all take this one.
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
