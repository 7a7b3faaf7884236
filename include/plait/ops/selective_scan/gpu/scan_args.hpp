// Arguments of the three scan kernels, and the order in which they add states.
// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Arguments of the scan kernels. `decay` is A log2(e), [N][d]; `skip` is D.
template <class T>
struct scan_args {
  sequences<T> seqs;
  rows_of<T const> u, z, dt, B, C;
  float const *decay, *skip;
  rows_of<T> y;
  std::int64_t channels, states;
};

/// Lanes that share the states of a channel. Of 16 successive states lane l has 4 l to 4 l + 3. A
/// lane adds its own in order, then the lanes are added as (0 + 2) + (1 + 3), then the runs of
/// states. Tiles and steps have the same order, so that their results have the same bits.
inline constexpr int scan_lanes = 4;

/// The states of one run, as many as are in registers at a time: 16, 32 or 64, the least that holds
/// `states`, or 64.
PLAIT_HD constexpr int scan_run(std::int64_t states) {
  return states <= 16 ? 16 : states <= 32 ? 32 : 64;
}

/// Adds four values over four lanes that are `Stride` lanes apart, with three shuffles: lane l gets
/// the sum of value l.
template <int Stride, class Block>
PLAIT_HD inline float sum_for_each_lane(Block const& b, int lane, float (&part)[scan_lanes]) {
  PLAIT_UNROLL
  for (int m = scan_lanes / 2; m > 0; m /= 2) {
    bool const upper = (lane & m) != 0;
    PLAIT_UNROLL
    for (int j = 0; j < m; ++j) {
      float const own = upper ? part[j + m] : part[j], other = upper ? part[j] : part[j + m];
      part[j] = own + b.shuffle_xor(other, m * Stride);
    }
  }
  return part[0];
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
