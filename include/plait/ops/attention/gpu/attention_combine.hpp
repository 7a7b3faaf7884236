// The kernel that merges the splits of attention.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/math.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/attention_parts.hpp>

#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (row, query head) merges the splits of its row in order.
/// Cost: per split and head dim + 2 floats read
/// Source: Flash-Decoding (Dao et al., 2023)
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <class T>
struct attention_combine {
  static constexpr int threads = 128, max_splits = 256;
  struct args {
    attention_parts parts;
    rows_of<T> out;
    std::int64_t dim, splits;
    float scale;
  };
  template <class Block>
  struct shared {
    typename Block::reduce_space maximum, total;
    float weight[max_splits];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const first = (b.x() * b.grid_y() + b.y()) * a.splits;
    float max_score = -std::numeric_limits<float>::infinity(), total = 0;
    for (std::int64_t i = b.thread(); i < a.splits; i += threads)
      if (a.parts.total[first + i] != 0) max_score = fmaxf(max_score, a.parts.maximum[first + i]);
    max_score = b.maximum(s.maximum, max_score);
    if (max_score == -std::numeric_limits<float>::infinity()) max_score = 0;
    for (std::int64_t i = b.thread(); i < a.splits; i += threads) {
      float const part_total = a.parts.total[first + i];
      float const weight = part_total != 0
                               ? kernels::exp2((a.parts.maximum[first + i] - max_score) * a.scale)
                               : 0.0f;
      s.weight[i] = weight;
      if (part_total != 0) total += weight * part_total;
    }
    total = b.sum(s.total, total);  // also a barrier: the weights are visible
    for (std::int64_t d = b.thread(); d < a.dim; d += threads) {
      float sum = 0;
      for (std::int64_t i = 0; i < a.splits; ++i)
        if (s.weight[i] != 0) sum += s.weight[i] * a.parts.sum[(first + i) * a.dim + d];
      a.out.row(b.x())[b.y() * a.dim + d] = narrow<T>(sum / total);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
