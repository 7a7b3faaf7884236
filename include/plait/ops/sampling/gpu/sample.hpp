// Kernels of sample.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/selective_scan/gpu/scan_args.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The largest of a row and where it stands first, to every thread of the block; a NaN in front
/// stays what it is found to be, another one is never larger (as std::max_element finds it).
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
    return best.at == nowhere || front != front ? found{front, 0}
                                                : best;  // nothing but NaN, or one in front
  }
};

/// A block a row.
/// Equation: greedy: the first of the largest, as `sample_greedy` (model/sample.hpp): a NaN is
///   chosen where it is the first of its row and never otherwise. Drawn from softmax(logits /
///   temperature): the first index at which the sum of weights exceeds uniform times all of it;
///   temperature 0, or a NaN among the logits: the greedy choice
/// Shapes: logits [T, V], V >= 1; uniform [T] in [0, 1), ids [T] int32, all in the device's memory
/// Cost: logits read once, or three times; a block a row
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

/// A block a row. Weights are added up in runs of threads * items, first for their sum, then until
/// a part of it is exceeded; both times in the same order, so that the last weight is reached by
/// rounding or not at all.
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
    float before = 0;
    int drawn = best.at;  // where nothing exceeds the limit: rounding, or a NaN
    for (std::int64_t first = 0; first < a.cols; first += run) {
      add_run(first, before);
      if (!(before > limit)) continue;  // of every thread alike
      float nearest =
          -static_cast<float>(run);  // the first one in the run, as the largest of negatives
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
