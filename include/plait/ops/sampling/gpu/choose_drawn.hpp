// The kernel of ops::choose_drawn.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/math.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/sampling/gpu/row_argmax.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// A block per row. Weights are added in runs of threads * items, first for their sum, then until
/// the running sum exceeds the limit, both times in the same order. Only rounding can leave the
/// limit unreached.
/// Test: tests/unit/ops/sampling/sample_gpu_test.cpp
struct choose_drawn {
  static constexpr int threads = 512, items = 4;
  struct args {
    rows_of<float const> logits;
    std::int64_t cols;
    float const* uniform;
    float scale;  ///< log2(e) / temperature
    std::int32_t* ids;
  };
  template <class Block>
  struct shared {
    row_argmax<threads>::space best;
    typename Block::template scan_space<float> sums;
    typename Block::reduce_space first;
  };
  struct plus {
    PLAIT_HD float operator()(float a, float b) const { return a + b; }
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    float const* const row = a.logits.row(b.x());
    auto const best = row_argmax<threads>::run(b, s.best, row, a.cols);
    std::int64_t const run = threads * items;
    float values[items], total = 0;
    auto const add_run = [&](std::int64_t first, float& carry) {
      PLAIT_UNROLL
      for (int i = 0; i < items; ++i) {
        std::int64_t const at = first + b.thread() * items + i;
        values[i] = at < a.cols ? kernels::exp2((row[at] - best.value) * a.scale) : 0.0f;
      }
      b.sync();
      b.scan(s.sums, values, plus{}, carry);
    };
    for (std::int64_t first = 0; first < a.cols; first += run) add_run(first, total);
    float const limit = a.uniform[b.x()] * total;
    float preceding = 0;
    int drawn = best.at;  // stays where no sum exceeds the limit: rounding, or a NaN
    for (std::int64_t first = 0; first < a.cols; first += run) {
      add_run(first, preceding);
      if (!(preceding > limit)) continue;  // the same for every thread
      // The first index in the run whose sum exceeds the limit, as a maximum of negative numbers.
      float nearest = -static_cast<float>(run);
      PLAIT_UNROLL
      for (int i = items - 1; i >= 0; --i)
        if (values[i] > limit && first + b.thread() * items + i < a.cols)
          nearest = -static_cast<float>(b.thread() * items + i);
      b.sync();
      nearest = b.maximum(s.first, nearest);
      if (nearest > -static_cast<float>(run))
        drawn = static_cast<int>(first - static_cast<std::int64_t>(nearest));
      break;
    }
    if (b.thread() == 0) a.ids[b.x()] = drawn;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
