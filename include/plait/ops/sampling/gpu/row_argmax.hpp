// The argmax of a row by one block.
// Test: tests/unit/ops/sampling/sample_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>

#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The maximum of a row and its first index, to every thread of the block. As std::max_element: a
/// NaN is the result where it is the first value, and never otherwise.
template <int Threads>
struct row_argmax {
  struct found {
    float value;
    int at;
  };
  struct space {
    found of_warp[Threads / warp_size];
  };

  PLAIT_HD static found better(found a, found b) {
    return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
  }

  template <class Block>
  PLAIT_HD static found run(Block const& b, space& s, float const* row, std::int64_t n) {
    constexpr int nowhere = std::numeric_limits<int>::max();
    found best{-std::numeric_limits<float>::infinity(), nowhere};
    for (std::int64_t i = b.thread(); i < n; i += Threads)
      best = better(best, {row[i], static_cast<int>(i)});
    for (int mask = warp_size / 2; mask > 0; mask /= 2)
      best = better(best, {b.shuffle_xor(best.value, mask), b.shuffle_xor(best.at, mask)});
    if (b.lane() == 0) s.of_warp[b.warp()] = best;
    b.sync();
    for (int w = 0; w < Threads / warp_size; ++w) best = better(best, s.of_warp[w]);
    float const front = row[0];
    // NaN alone, or NaN first.
    return best.at == nowhere || front != front ? found{front, 0} : best;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
