// attend on the CPU: blocks of 64 keys with an online softmax (Milakov and Gimelshein,
// arXiv:1805.02867; Dao et al., arXiv:2205.14135).
//
// A row is one query of one head. Rows that share a head of keys form tiles of up to 48 (24 on
// AVX2), so that a block is read once for all of them; the blocks stand at fixed
// absolute positions, and so do the splits, runs of blocks that are summed up on their own
// and then merged in order. A row's sums therefore do not depend on which rows it shares a tile
// with, nor on whether one thread takes all splits of a long context or many.
// Equation: a score is one chain over dim upwards of the scaled query; the maximum is exact; a
//   block's exponentials are added in 16 chains, then total <- total exp(old maximum - new) + sum
//   of the block; values are one chain over keys upwards, rescaled once a block. 16 blocks are a
//   split, summed up on its own; splits are merged in order: total <- total exp(its maximum -
//   both) + the split's exp(its maximum - both). Blocks and splits stand at fixed absolute
//   positions, in prefill and decode alike
// Shapes: workspace: for each thread 4 max_rows (7 dim + 140) floats at most, dim once rounded up
//   to a panel. bf16 keys and values are widened as they are read
// Cost: a row at the causal edge is computed alone, so that it reads only keys it may see: at most
//   one block of keys. Threads share (sequence, head of keys, tile); where these are fewer than two
//   a thread and the context is long, the splits of each
// Source: Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135
// Test: tests/unit/ops/attention/paged_attention_test.cpp, tests/unit/model/invariance_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/attention/paged_attention.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Value>
struct paged_attention_cpu {
  static void run(exec::host& exec, sequences<float> const& seqs, attention_shape shape,
                  matrix_view<float const> q, matrix_view<float const> k,
                  matrix_view<float const> v, matrix_view<float> out);
};

template <precision P>
struct paged_attention_op<exec::cpu<P>> : paged_attention_cpu<typename exec::cpu<P>::kv_type> {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/panel_product.hpp>

#include <algorithm>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Value>
struct paged_attention_kernel {
  static void run(exec::host& exec, sequences<float> const& seqs, attention_shape shape,
                  matrix_view<float const> q, matrix_view<float const> k,
                  matrix_view<float const> v, matrix_view<float> out) {
    exec.parallel(seqs.count * shape.kv_heads, [&](std::int64_t i, int) {
      append_to_pages<value>(seqs, shape, i / shape.kv_heads, i % shape.kv_heads, k, v);
    });
    arena::frame const scratch(exec.workspace);
    std::int64_t const threads = exec.threads(), per_thread = rounded(workspace::floats(shape)),
                       per_partial = rounded(partial::floats(shape));
    float* const memory = exec.workspace.template take<float>(threads * per_thread);
    float* const shared =
        exec.workspace.template take<float>(threads * partials_per_thread * per_partial);
    std::int64_t* const first_item = exec.workspace.template take<std::int64_t>(
        seqs.count + 1);  // of each sequence, then the total
    exec.parallel(1, [&](std::int64_t, int) {
      first_item[0] = 0;
      for (std::int64_t s = 0; s < seqs.count; ++s)
        first_item[s + 1] = first_item[s] + shape.kv_heads * tiles(seqs, shape, s);
    });
    if (exec.workspace.measuring()) return;
    auto const tile_of = [&](std::int64_t item) {
      std::int64_t const s =
          std::upper_bound(first_item, first_item + seqs.count, item) - first_item - 1;
      std::int64_t const n = tiles(seqs, shape, s);
      return row_tile(seqs, s, shape, (item - first_item[s]) / n,
                      (item - first_item[s]) % n * tile_rows);
    };
    std::int64_t const items = first_item[seqs.count];
    std::int64_t longest = 0;
    for (std::int64_t s = 0; s < seqs.count; ++s)
      longest = std::max(longest, seqs.length[s] + seqs.tokens(s));
    if (items >= 2 * threads || longest <= threads * blocks_per_split * block) {
      exec.parallel(items, [&](std::int64_t item, int thread) {
        row_tile const tile = tile_of(item);
        workspace const w(memory + thread * per_thread, shape);
        tile.pack_queries(q, w);
        for (std::int64_t split = 0; split < tile.splits(); ++split) {
          tile.sum_up(split, w, split == 0 ? w.all : w.one);
          if (split > 0) tile.merge(split, w.all, w.one);
        }
        tile.write(w.all, out);
      });
      return;
    }
    for (std::int64_t item = 0; item < items;
         ++item) {  // fewer tiles than would keep the threads busy: they share the splits of each
      row_tile const tile = tile_of(item);
      for (std::int64_t split = 0; split < tile.splits();
           split += threads * partials_per_thread - 1) {
        // Place 0 holds what was merged so far.
        std::int64_t const n = std::min(tile.splits() - split, threads * partials_per_thread - 1),
                           place = split == 0 ? 0 : 1;
        auto const at = [&](std::int64_t i) { return partial(shared + i * per_partial, shape); };
        exec.parallel(n, [&](std::int64_t i, int thread) {
          workspace const w(memory + thread * per_thread, shape);
          tile.pack_queries(q, w);
          tile.sum_up(split + i, w, at(place + i));
        });
        for (std::int64_t i = 1 - place; i < n; ++i) tile.merge(split + i, at(0), at(place + i));
      }
      tile.write(partial(shared, shape), out);
    }
  }

 private:
  using value = Value;
  static constexpr int most = panels::max_rows(dtype::f32);
  static constexpr std::int64_t block = page_tokens, tile_rows = 4 * most, blocks_per_split = 16,
                                partials_per_thread = 4;
  static_assert(block % panels::panel == 0 && block % 16 == 0);

  static std::int64_t rounded(std::int64_t floats) { return (floats + 15) / 16 * 16; }
  static std::int64_t padded(std::int64_t dim) {
    return (dim + panels::panel - 1) / panels::panel * panels::panel;
  }
  static std::int64_t tiles(sequences<float> const& seqs, attention_shape shape, std::int64_t s) {
    return (seqs.tokens(s) * (shape.heads / shape.kv_heads) + tile_rows - 1) / tile_rows;
  }

  /// Of every row of a tile: the weighted sum of values, the largest score, the sum of weights. No
  /// key seen yet: the score is -infinity.
  struct partial {
    float *sum, *largest, *total;
    partial(float* memory, attention_shape shape)
        : sum(memory), largest(sum + tile_rows * padded(shape.dim)), total(largest + tile_rows) {}
    static std::int64_t floats(attention_shape shape) {
      return tile_rows * (padded(shape.dim) + 2);
    }
  };
  struct workspace {
    partial all, one;
    float *q, *p, *p_packed;
    workspace(float* memory, attention_shape shape)
        : all(memory, shape),
          one(memory + partial::floats(shape), shape),
          q(memory + 2 * partial::floats(shape)),
          p(q + tile_rows * shape.dim),
          p_packed(p + tile_rows * block) {}
    static std::int64_t floats(attention_shape shape) {
      return 2 * partial::floats(shape) + tile_rows * (shape.dim + 2 * block);
    }
  };

  /// Rows [first, first + rows) of one head of keys, of one sequence.
  class row_tile {
   public:
    row_tile(sequences<float> const& seqs, std::int64_t s, attention_shape shape, std::int64_t head,
             std::int64_t first)
        : seqs_(seqs),
          s_(s),
          dim_(shape.dim),
          columns_(padded(shape.dim)),
          head_(head),
          first_(first),
          share_(shape.heads / shape.kv_heads),
          groups_{std::min(tile_rows, seqs.tokens(s) * share_ - first), most},
          at_{shape.kv_heads, shape.dim} {}

    std::int64_t splits() const {
      return position(groups_.rows - 1) / (block * blocks_per_split) + 1;
    }

    /// Queries, divided by sqrt(dim), as panels::multiply reads them.
    void pack_queries(matrix_view<float const> q, workspace const& w) const {
      float const scale = 1.0f / std::sqrt(static_cast<float>(dim_));
      for (std::int64_t g = 0; g < groups_.count(); ++g)
        for (std::int64_t m = 0; m < groups_.size(g); ++m) {
          std::int64_t const r = groups_.first(g) + m;
          float const* const from = q.row(row_of(r)) + column_of(r);
          for (std::int64_t d = 0; d < dim_; ++d)
            w.q[groups_.first(g) * dim_ + d * groups_.size(g) + m] = from[d] * scale;
        }
    }

    void sum_up(std::int64_t split, workspace const& w, partial const& to) const {
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        to.largest[r] = -std::numeric_limits<float>::infinity();
        to.total[r] = 0;
      }
      for (std::int64_t i = 0; i < groups_.rows * columns_; ++i) to.sum[i] = 0;
      std::int64_t const end =
          std::min((split + 1) * blocks_per_split, position(groups_.rows - 1) / block + 1);
      for (std::int64_t b = split * blocks_per_split; b < end; ++b)
        for (std::int64_t g = 0; g < groups_.count(); ++g)
          if (seen(groups_.first(g + 1) - 1, b) > 0)
            add_block(b, groups_.first(g), groups_.size(g), w, to);
    }

    /// Adds the sums of a later split.
    void merge(std::int64_t split, partial const& all, partial const& one) const {
      using namespace simd;
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        if (position(r) < split * blocks_per_split * block) continue;  // sees none of its keys
        float const largest = std::max(all.largest[r], one.largest[r]);
        packet const a = set(exp(all.largest[r] - largest)), b = set(exp(one.largest[r] - largest));
        all.total[r] =
            Eigen::internal::pfirst(fma(set(one.total[r]), b, mul(set(all.total[r]), a)));
        all.largest[r] = largest;
        float *const to = all.sum + r * columns_, *const from = one.sum + r * columns_;
        for (std::int64_t d = 0; d < columns_; d += width)
          store(to + d, fma(load(from + d), b, mul(load(to + d), a)));
      }
    }

    void write(partial const& all, matrix_view<float> out) const {
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        float *const to = out.row(row_of(r)) + column_of(r), *const sum = all.sum + r * columns_;
        simd::packet const total = simd::set(all.total[r]);
        simd::for_each_packet(dim_, [&](std::int64_t d, std::int64_t n) {
          simd::store(to + d, simd::div(simd::load(sum + d), total), n);
        });
      }
    }

   private:
    std::int64_t row_of(std::int64_t r) const {
      return seqs_.first_row[s_] + (first_ + r) / share_;
    }
    std::int64_t column_of(std::int64_t r) const {
      return (head_ * share_ + (first_ + r) % share_) * dim_;
    }
    std::int64_t position(std::int64_t r) const { return seqs_.length[s_] + (first_ + r) / share_; }
    /// Keys of block b that row r sees; rows only grow.
    std::int64_t seen(std::int64_t r, std::int64_t b) const {
      return std::min(block, position(r) - b * block + 1);
    }

    void add_block(std::int64_t b, std::int64_t r0, std::int64_t size, workspace const& w,
                   partial const& to) const {
      value const* const page = seqs_.template page_of<value>(s_, b);
      panels::with_rows<most>(size, [&](auto rows_here) {
        for (std::int64_t c = 0; c < block; c += panels::panel) {
          panels::tile<rows_here> t;
          t.start();
          panels::multiply<rows_here>(t, page + at_.key(head_, 0, c), block, w.q + r0 * dim_, dim_);
          for (int m = 0; m < rows_here; ++m) t.write(m, w.p + (r0 + m) * block + c, panels::panel);
        }
      });
      for (std::int64_t r = r0; r < r0 + size; ++r)
        if (seen(r, b) > 0)
          softmax_step(w.p + r * block, seen(r, b), to.largest[r], to.total[r],
                       to.sum + r * columns_, columns_);
      value const* const values = page + at_.value(head_, 0, 0);
      if (seen(r0, b) == block) {  // then every row of the group sees the whole block
        for (std::int64_t m = 0; m < size; ++m)
          for (std::int64_t i = 0; i < block; ++i)
            w.p_packed[i * size + m] = w.p[(r0 + m) * block + i];
        panels::with_rows<most>(size, [&](auto rows_here) {
          add_values<rows_here>(w.p_packed, values, dim_, block, to.sum + r0 * columns_, columns_);
        });
      } else {  // the causal edge: each row on its own, so that none reads a key it may not see
        for (std::int64_t r = r0; r < r0 + size; ++r)
          if (seen(r, b) > 0)
            add_values<1>(w.p + r * block, values, dim_, seen(r, b), to.sum + r * columns_,
                          columns_);
      }
    }

    sequences<float> const& seqs_;
    std::int64_t s_, dim_, columns_, head_, first_, share_;
    panels::row_groups groups_;
    page_layout at_;
  };

  /// Scores p[0, seen) become exp(p - largest), the rest 0; sums made with the old maximum are
  /// scaled down to the new one.
  static void softmax_step(float* p, std::int64_t seen, float& before, float& total, float* sum,
                           std::int64_t columns) {
    using namespace simd;
    for (std::int64_t i = seen; i < block; ++i) p[i] = -std::numeric_limits<float>::infinity();
    packet m = load(p);
    for (std::int64_t i = width; i < block; i += width) m = max(load(p + i), m);
    float const larger =
        std::max(before, Eigen::internal::predux_max(m));  // a maximum is exact in any order
    packet const shift = set(larger), scale = set(exp(before - larger));
    for (std::int64_t i = 0; i < block; i += width) store(p + i, exp(sub(load(p + i), shift)));
    for (std::int64_t i = seen; i < block; ++i) p[i] = 0;
    lane_sum of_block;
    of_block.add_values(p, block);
    total = Eigen::internal::pfirst(fma(set(total), scale, set(of_block.total())));
    before = larger;
    for (std::int64_t d = 0; d < columns; d += width) store(sum + d, mul(load(sum + d), scale));
  }

  /// sum[m] += p[k][m] * values[k] over `keys` keys. Columns beyond dim are computed from what lies
  /// behind a row and never used.
  template <int Rows>
  static void add_values(float const* p, value const* values, std::int64_t dim, std::int64_t keys,
                         float* sum, std::int64_t columns) {
    for (std::int64_t c = 0; c < columns; c += panels::panel) {
      panels::tile<Rows> t;
      for (int m = 0; m < Rows; ++m)
        for (int h = 0; h < 2; ++h)
          t.sum[m][h] = simd::load(sum + m * columns + c + h * simd::width);
      panels::multiply<Rows>(t, values + c, dim, p, keys);
      for (int m = 0; m < Rows; ++m) t.write(m, sum + m * columns + c, panels::panel);
    }
  }
};

template <class Value>
void paged_attention_cpu<Value>::run(exec::host& exec, sequences<float> const& seqs,
                                     attention_shape shape, matrix_view<float const> q,
                                     matrix_view<float const> k, matrix_view<float const> v,
                                     matrix_view<float> out) {
  paged_attention_kernel<Value>::run(exec, seqs, shape, q, k, v, out);
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
