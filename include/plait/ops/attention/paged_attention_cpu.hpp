// paged_attention on the CPU: blocks of 64 keys with an online softmax.
//
// A row is one query of one head. Rows that share a key head form tiles of up to 48 rows (24 on
// AVX2), so that a block of keys is read once per tile. Blocks stand at fixed absolute positions,
// as do splits, runs of 16 blocks that are summed separately and merged in order. The sums of a row
// therefore do not depend on the other rows of its tile, nor on whether one thread or several take
// the splits of a long context.
// Equation: a score is one chain over dim upwards of the scaled query; the maximum is exact; the
//   exponentials of a block are added in 16 chains, then total <- total exp(old maximum - new
//   maximum) + sum of the block; values are one chain over keys upwards, rescaled once per block.
//   Merging a split: total <- total exp(its maximum - common maximum) + the split's total exp(its
//   maximum - common maximum)
// Shapes: workspace: per thread at most 4 max_rows (7 dim + 140) floats, with one dim rounded up to
//   a panel. bf16 keys and values are widened as they are read
// Cost: a row at the causal edge is computed alone, so that it reads only keys it may see: at most
//   one block of keys. Threads share (sequence, key head, tile); where a thread would have fewer
//   than two of these and the context is long, they share the splits of each
// Source: Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135
// Test: tests/unit/ops/attention/paged_attention_test.cpp, tests/unit/model/invariance_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/attention/paged_attention.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// paged_attention for one type of keys and values.
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
namespace detail {

template <class Value>
struct paged_attention_kernel {
  static void run(exec::host& exec, sequences<float> const& seqs, attention_shape shape,
                  matrix_view<float const> q, matrix_view<float const> k,
                  matrix_view<float const> v, matrix_view<float> out) {
    exec.parallel(seqs.count * shape.kv_heads, [&](std::int64_t i, int) {
      append_to_pages<value>(seqs, shape, i / shape.kv_heads, i % shape.kv_heads, k, v);
    });
    arena::frame const scratch(exec.workspace);
    std::int64_t const threads = exec.threads();
    std::int64_t const floats_per_thread = rounded(workspace::floats(shape));
    std::int64_t const floats_per_partial = rounded(partial::floats(shape));
    float* const memory = exec.workspace.template take<float>(threads * floats_per_thread);
    float* const partials =
        exec.workspace.template take<float>(threads * partials_per_thread * floats_per_partial);
    // The first item of each sequence, then the number of all items.
    std::int64_t* const first_item = exec.workspace.template take<std::int64_t>(seqs.count + 1);
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
    std::int64_t max_context = 0;
    for (std::int64_t s = 0; s < seqs.count; ++s)
      max_context = std::max(max_context, seqs.length[s] + seqs.tokens(s));
    if (items >= 2 * threads || max_context <= threads * blocks_per_split * block) {
      exec.parallel(items, [&](std::int64_t item, int thread) {
        row_tile const tile = tile_of(item);
        workspace const w(memory + thread * floats_per_thread, shape);
        tile.pack_queries(q, w);
        for (std::int64_t split = 0; split < tile.splits(); ++split) {
          tile.sum_split(split, w, split == 0 ? w.merged : w.of_split);
          if (split > 0) tile.merge(split, w.merged, w.of_split);
        }
        tile.write(w.merged, out);
      });
      return;
    }
    // Too few tiles to keep all threads busy: they share the splits of each tile.
    for (std::int64_t item = 0; item < items; ++item) {
      row_tile const tile = tile_of(item);
      for (std::int64_t split = 0; split < tile.splits();
           split += threads * partials_per_thread - 1) {
        // Partial 0 accumulates the merged splits.
        std::int64_t const n = std::min(tile.splits() - split, threads * partials_per_thread - 1);
        std::int64_t const first_partial = split == 0 ? 0 : 1;
        auto const partial_of = [&](std::int64_t i) {
          return partial(partials + i * floats_per_partial, shape);
        };
        exec.parallel(n, [&](std::int64_t i, int thread) {
          workspace const w(memory + thread * floats_per_thread, shape);
          tile.pack_queries(q, w);
          tile.sum_split(split + i, w, partial_of(first_partial + i));
        });
        for (std::int64_t i = 1 - first_partial; i < n; ++i)
          tile.merge(split + i, partial_of(0), partial_of(first_partial + i));
      }
      tile.write(partial(partials, shape), out);
    }
  }

 private:
  using value = Value;
  static constexpr int max_group_rows = panels::max_rows(dtype::f32);
  static constexpr std::int64_t block = page_tokens;  ///< keys
  static constexpr std::int64_t tile_rows = 4 * max_group_rows;
  static constexpr std::int64_t blocks_per_split = 16;
  static constexpr std::int64_t partials_per_thread = 4;
  static_assert(block % panels::panel == 0 && block % 16 == 0);

  static std::int64_t rounded(std::int64_t floats) { return (floats + 15) / 16 * 16; }
  static std::int64_t padded(std::int64_t dim) {
    return (dim + panels::panel - 1) / panels::panel * panels::panel;
  }
  static std::int64_t tiles(sequences<float> const& seqs, attention_shape shape, std::int64_t s) {
    return (seqs.tokens(s) * (shape.heads / shape.kv_heads) + tile_rows - 1) / tile_rows;
  }

  /// Online-softmax state of every row of a tile: the weighted sum of values, the maximum score and
  /// the sum of weights. Before the first key the maximum is -infinity.
  struct partial {
    float* sum;
    float* maximum;
    float* total;
    partial(float* memory, attention_shape shape)
        : sum(memory), maximum(sum + tile_rows * padded(shape.dim)), total(maximum + tile_rows) {}
    static std::int64_t floats(attention_shape shape) {
      return tile_rows * (padded(shape.dim) + 2);
    }
  };
  struct workspace {
    partial merged;    ///< of the splits up to the current one
    partial of_split;  ///< of the current split
    float* queries;
    float* weights;         ///< [row][key] of a block
    float* packed_weights;  ///< [key][row] of a group of rows
    workspace(float* memory, attention_shape shape)
        : merged(memory, shape),
          of_split(memory + partial::floats(shape), shape),
          queries(memory + 2 * partial::floats(shape)),
          weights(queries + tile_rows * shape.dim),
          packed_weights(weights + tile_rows * block) {}
    static std::int64_t floats(attention_shape shape) {
      return 2 * partial::floats(shape) + tile_rows * (shape.dim + 2 * block);
    }
  };

  /// Rows [first, first + rows) of one key head of one sequence.
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
          group_size_(shape.heads / shape.kv_heads),
          groups_{std::min(tile_rows, seqs.tokens(s) * group_size_ - first), max_group_rows},
          at_{shape.kv_heads, shape.dim} {}

    std::int64_t splits() const {
      return position(groups_.rows - 1) / (block * blocks_per_split) + 1;
    }

    /// Queries, divided by sqrt(dim), in the layout of panels::multiply.
    void pack_queries(matrix_view<float const> q, workspace const& w) const {
      float const scale = 1.0f / std::sqrt(static_cast<float>(dim_));
      for (std::int64_t g = 0; g < groups_.count(); ++g)
        for (std::int64_t m = 0; m < groups_.size(g); ++m) {
          std::int64_t const r = groups_.first(g) + m;
          float const* const from = q.row(row_of(r)) + column_of(r);
          for (std::int64_t d = 0; d < dim_; ++d)
            w.queries[groups_.first(g) * dim_ + d * groups_.size(g) + m] = from[d] * scale;
        }
    }

    /// The online softmax over the blocks of one split.
    void sum_split(std::int64_t split, workspace const& w, partial const& to) const {
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        to.maximum[r] = -std::numeric_limits<float>::infinity();
        to.total[r] = 0;
      }
      for (std::int64_t i = 0; i < groups_.rows * columns_; ++i) to.sum[i] = 0;
      std::int64_t const end =
          std::min((split + 1) * blocks_per_split, position(groups_.rows - 1) / block + 1);
      for (std::int64_t b = split * blocks_per_split; b < end; ++b)
        for (std::int64_t g = 0; g < groups_.count(); ++g)
          if (visible_keys(groups_.first(g + 1) - 1, b) > 0)
            add_block(b, groups_.first(g), groups_.size(g), w, to);
    }

    /// Merges a split that follows those of `merged`.
    void merge(std::int64_t split, partial const& merged, partial const& of_split) const {
      using namespace simd;
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        if (position(r) < split * blocks_per_split * block)
          continue;  // the row sees no key of the split
        float const maximum = std::max(merged.maximum[r], of_split.maximum[r]);
        packet const a = set(exp(merged.maximum[r] - maximum));
        packet const b = set(exp(of_split.maximum[r] - maximum));
        merged.total[r] =
            Eigen::internal::pfirst(fma(set(of_split.total[r]), b, mul(set(merged.total[r]), a)));
        merged.maximum[r] = maximum;
        float *const to = merged.sum + r * columns_, *const from = of_split.sum + r * columns_;
        for (std::int64_t d = 0; d < columns_; d += width)
          store(to + d, fma(load(from + d), b, mul(load(to + d), a)));
      }
    }

    void write(partial const& merged, matrix_view<float> out) const {
      for (std::int64_t r = 0; r < groups_.rows; ++r) {
        float *const to = out.row(row_of(r)) + column_of(r), *const sum = merged.sum + r * columns_;
        simd::packet const total = simd::set(merged.total[r]);
        simd::for_each_packet(dim_, [&](std::int64_t d, std::int64_t n) {
          simd::store(to + d, simd::div(simd::load(sum + d), total), n);
        });
      }
    }

   private:
    std::int64_t row_of(std::int64_t r) const {
      return seqs_.first_row[s_] + (first_ + r) / group_size_;
    }
    std::int64_t column_of(std::int64_t r) const {
      return (head_ * group_size_ + (first_ + r) % group_size_) * dim_;
    }
    std::int64_t position(std::int64_t r) const {
      return seqs_.length[s_] + (first_ + r) / group_size_;
    }
    /// The number of keys of block b that row r sees. It does not decrease with r.
    std::int64_t visible_keys(std::int64_t r, std::int64_t b) const {
      return std::min(block, position(r) - b * block + 1);
    }

    void add_block(std::int64_t b, std::int64_t r0, std::int64_t size, workspace const& w,
                   partial const& to) const {
      value const* const page = seqs_.template page_of<value>(s_, b);
      panels::with_rows<max_group_rows>(size, [&](auto group_rows) {
        for (std::int64_t c = 0; c < block; c += panels::panel) {
          panels::accumulators<group_rows> t;
          t.start();
          panels::multiply<group_rows>(t, page + at_.key(head_, 0, c), block, w.queries + r0 * dim_,
                                       dim_);
          for (int m = 0; m < group_rows; ++m)
            t.write(m, w.weights + (r0 + m) * block + c, panels::panel);
        }
      });
      for (std::int64_t r = r0; r < r0 + size; ++r)
        if (visible_keys(r, b) > 0)
          softmax_step(w.weights + r * block, visible_keys(r, b), to.maximum[r], to.total[r],
                       to.sum + r * columns_, columns_);
      value const* const values = page + at_.value(head_, 0, 0);
      if (visible_keys(r0, b) == block) {  // so does every other row of the group
        for (std::int64_t m = 0; m < size; ++m)
          for (std::int64_t i = 0; i < block; ++i)
            w.packed_weights[i * size + m] = w.weights[(r0 + m) * block + i];
        panels::with_rows<max_group_rows>(size, [&](auto group_rows) {
          add_values<group_rows>(w.packed_weights, values, dim_, block, to.sum + r0 * columns_,
                                 columns_);
        });
      } else {  // the causal edge: row by row, so that no row reads a key it may not see
        for (std::int64_t r = r0; r < r0 + size; ++r)
          if (visible_keys(r, b) > 0)
            add_values<1>(w.weights + r * block, values, dim_, visible_keys(r, b),
                          to.sum + r * columns_, columns_);
      }
    }

    sequences<float> const& seqs_;
    std::int64_t s_, dim_, columns_, head_, first_, group_size_;
    panels::row_groups groups_;
    page_layout at_;
  };

  /// Scores p[0, visible_keys) become exp(p - maximum), the others 0. Sums that were made with the
  /// old maximum are scaled to the new one.
  static void softmax_step(float* p, std::int64_t visible_keys, float& maximum, float& total,
                           float* sum, std::int64_t columns) {
    using namespace simd;
    for (std::int64_t i = visible_keys; i < block; ++i)
      p[i] = -std::numeric_limits<float>::infinity();
    packet m = load(p);
    for (std::int64_t i = width; i < block; i += width) m = max(load(p + i), m);
    // A maximum is exact in any order.
    float const new_maximum = std::max(maximum, Eigen::internal::predux_max(m));
    packet const shift = set(new_maximum), scale = set(exp(maximum - new_maximum));
    for (std::int64_t i = 0; i < block; i += width) store(p + i, exp(sub(load(p + i), shift)));
    for (std::int64_t i = visible_keys; i < block; ++i) p[i] = 0;
    lane_sum of_block;
    of_block.add_values(p, block);
    total = Eigen::internal::pfirst(fma(set(total), scale, set(of_block.total())));
    maximum = new_maximum;
    for (std::int64_t d = 0; d < columns; d += width) store(sum + d, mul(load(sum + d), scale));
  }

  /// sum[m] += p[k][m] values[k] over `keys` keys. Columns beyond dim are computed from whatever
  /// follows a row in memory, and never used.
  template <int Rows>
  static void add_values(float const* p, value const* values, std::int64_t dim, std::int64_t keys,
                         float* sum, std::int64_t columns) {
    for (std::int64_t c = 0; c < columns; c += panels::panel) {
      panels::accumulators<Rows> t;
      for (int m = 0; m < Rows; ++m)
        for (int h = 0; h < 2; ++h)
          t.sum[m][h] = simd::load(sum + m * columns + c + h * simd::width);
      panels::multiply<Rows>(t, values + c, dim, p, keys);
      for (int m = 0; m < Rows; ++m) t.write(m, sum + m * columns + c, panels::panel);
    }
  }
};

}  // namespace detail

template <class Value>
void paged_attention_cpu<Value>::run(exec::host& exec, sequences<float> const& seqs,
                                     attention_shape shape, matrix_view<float const> q,
                                     matrix_view<float const> k, matrix_view<float const> v,
                                     matrix_view<float> out) {
  detail::paged_attention_kernel<Value>::run(exec, seqs, shape, q, k, v, out);
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
