// What the three kernels are given, and the order in which they add up states.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// What the three kernels are given. `decay` is A log2(e), [N][d]; `skip` is D.
/// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
template <class T>
struct scan_args {
  sequences<T> seqs;
  rows_of<T const> u, z, dt, B, C;
  float const *decay, *skip;
  rows_of<T> y;
  std::int64_t channels, states;
};

/// Four lanes share the states of a channel: of 16 successive ones, lane l has 4 l to 4 l + 3. A
/// lane sums up its own in their order, then the sums of the lanes are added as (0 + 2) + (1 + 3),
/// then those of successive runs of states. Tiles and steps do the same, so that their results are
/// the same bits.
inline constexpr int scan_lanes = 4;
/// States of one run, for a number of them: as many as are kept in registers at a time.
PLAIT_HD constexpr int scan_run(std::int64_t states) {
  return states <= 16 ? 16 : states <= 32 ? 32 : 64;
}

/// The sums of four lanes that stand `Apart` lanes apart, of four things: lane l gets the sum of
/// thing l, by three shuffles.
template <int Apart, class Block>
PLAIT_HD inline float sum_for_each_lane(Block const& b, int lane, float (&part)[scan_lanes]) {
  PLAIT_UNROLL
  for (int m = scan_lanes / 2; m > 0; m /= 2) {
    bool const upper = (lane & m) != 0;
    PLAIT_UNROLL
    for (int j = 0; j < m; ++j) {
      float const mine = upper ? part[j + m] : part[j], other = upper ? part[j] : part[j + m];
      part[j] = mine + b.shuffle_xor(other, m * Apart);
    }
  }
  return part[0];
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
