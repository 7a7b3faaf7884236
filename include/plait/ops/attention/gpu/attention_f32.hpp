// The attention kernel for every type and width.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/sequence_tiles.hpp>
#include <plait/policy/precision.hpp>

#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (row, query head). Its warps take pages in turn, each with an online softmax of its own,
/// and are merged in order. Lanes stand for tokens where keys are read and for dimensions where
/// values are read; a run of `columns` dimensions is summed at a time, so that any width works.
/// Equation: as ops/attention/paged_attention.hpp, all in f32
/// Cost: keys and values are read once per query: a kernel for comparison, and for shapes without
///   tensor cores
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <class T, class Value>
struct attention_f32 {
  static constexpr int threads = 128, min_blocks_per_multiprocessor = 8;
  static constexpr int warps = threads / warp_size, columns = 256;
  struct args {
    sequences<T> seqs;
    rows_of<T const> q;
    rows_of<T> out;  ///< may be q where dim <= columns
    page_layout layout;
    std::int64_t group_size;  ///< query heads per key head
    float scale;              ///< log2(e) / sqrt(dim)
  };
  template <class>
  struct shared {
    float p[warps][page_tokens];
    float sum[warps][columns];
    float maximum[warps], total[warps];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const row = b.x();
    std::int64_t const seq = sequence_of_row(a.seqs, row);
    std::int64_t const dim = a.layout.dim;
    std::int64_t const head = b.y() / a.group_size;
    std::int64_t const keys = a.seqs.length[seq] + row - a.seqs.first_row[seq] + 1;
    std::int64_t const pages = (keys + page_tokens - 1) / page_tokens;
    T const* const q = a.q.row(row) + b.y() * dim;
    T* const out = a.out.row(row) + b.y() * dim;
    int const w = b.warp(), lane = b.lane();
    constexpr int per_lane = columns / warp_size, per_page = page_tokens / warp_size;
    for (std::int64_t d0 = 0; d0 < dim; d0 += columns) {
      float sum[per_lane] = {}, maximum = -std::numeric_limits<float>::infinity(), total = 0;
      for (std::int64_t p = w; p < pages; p += warps) {
        Value const* const page = a.seqs.template page_of<Value>(seq, p);
        std::int64_t const visible_keys =
            keys - p * page_tokens < page_tokens ? keys - p * page_tokens : page_tokens;
        float score[per_page] = {};
        for (std::int64_t d = 0; d < dim; ++d) {
          float const x = widen(q[d]);
          PLAIT_UNROLL
          for (int i = 0; i < per_page; ++i) {
            std::int64_t const t = lane + i * warp_size;
            if (t < visible_keys) score[i] += x * widen(page[a.layout.key(head, d, t)]);
          }
        }
        float new_maximum = maximum;
        PLAIT_UNROLL
        for (int i = 0; i < per_page; ++i)
          if (lane + i * warp_size < visible_keys) new_maximum = fmaxf(new_maximum, score[i]);
        new_maximum = warp_maximum(b, new_maximum);
        // All scores up to here are NaN: no maximum to subtract.
        float const shift =
            new_maximum == -std::numeric_limits<float>::infinity() ? 0.0f : new_maximum * a.scale;
        float const rescale = kernels::exp2(maximum * a.scale - shift);
        maximum = new_maximum;
        total *= rescale;
        b.sync_warp();
        PLAIT_UNROLL
        for (int i = 0; i < per_page; ++i) {
          std::int64_t const t = lane + i * warp_size;
          float const p_t = t < visible_keys ? kernels::exp2(score[i] * a.scale - shift) : 0.0f;
          s.p[w][t] = p_t;
          total += p_t;
        }
        b.sync_warp();
        PLAIT_UNROLL
        for (int i = 0; i < per_lane; ++i) sum[i] *= rescale;
        for (std::int64_t t = 0; t < visible_keys; ++t) {
          Value const* const value = page + a.layout.value(head, t, d0);
          PLAIT_UNROLL
          for (int i = 0; i < per_lane; ++i)
            if (d0 + lane + i * warp_size < dim)
              sum[i] += s.p[w][t] * widen(value[lane + i * warp_size]);
        }
      }
      total = warp_sum(b, total);
      PLAIT_UNROLL
      for (int i = 0; i < per_lane; ++i) s.sum[w][lane + i * warp_size] = sum[i];
      if (lane == 0) {
        s.maximum[w] = maximum;
        s.total[w] = total;
      }
      b.sync();  // also: every warp has read its q
      float max_score = s.maximum[0], factor[warps], all = 0;
      PLAIT_UNROLL
      for (int i = 1; i < warps; ++i) max_score = fmaxf(max_score, s.maximum[i]);
      if (max_score == -std::numeric_limits<float>::infinity()) max_score = 0;
      PLAIT_UNROLL
      for (int i = 0; i < warps; ++i) {
        factor[i] = kernels::exp2((s.maximum[i] - max_score) * a.scale);
        all += factor[i] * s.total[i];
      }
      for (std::int64_t d = b.thread(); d < columns && d0 + d < dim; d += threads) {
        float x = 0;
        PLAIT_UNROLL
        for (int i = 0; i < warps; ++i) x += factor[i] * s.sum[i][d];
        out[d0 + d] = narrow<T>(x / all);
      }
      b.sync();
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
