// The kernel of ops::choose_greedy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/sampling/gpu/row_argmax.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// A block per row.
/// Test: tests/unit/ops/sampling/sample_gpu_test.cpp
struct choose_greedy {
  static constexpr int threads = 512;
  struct args {
    rows_of<float const> logits;
    std::int64_t cols;
    std::int32_t* ids;
  };
  template <class>
  using shared = row_argmax<threads>::space;

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    auto const best = row_argmax<threads>::run(b, s, a.logits.row(b.x()), a.cols);
    if (b.thread() == 0) a.ids[b.x()] = best.at;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
