// attend on the CPU: blocks of keys with an online softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135).
//
// A row is one query of one head. Rows that share a head of keys form tiles, so that a block is read once for all of them; the blocks
// stand at fixed absolute positions, so that a row's sums do not depend on which rows it shares a tile with.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/attend.hpp>
#include <plait/ops/cpu/panel_product.hpp>

#include <algorithm>
#include <limits>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct attend_op<exec::cpu<P>> {
  static void run(exec::cpu<P>& exec, sequences<float> const& seqs, attend_shape shape, matrix_view<float const> q,
                  matrix_view<float const> k, matrix_view<float const> v, matrix_view<float> out) {
    exec.parallel(seqs.count * shape.kv_heads,
                  [&](std::int64_t i, int) { append_to_pages<value>(seqs, shape, i / shape.kv_heads, i % shape.kv_heads, k, v); });
    arena::frame const scratch(exec.workspace);
    std::int64_t const per_thread = (workspace::floats(shape) + 15) / 16 * 16;
    float* const memory = exec.workspace.template take<float>(exec.threads() * per_thread);
    std::int64_t* const first_item = exec.workspace.template take<std::int64_t>(seqs.count + 1);  // of each sequence, then the total
    exec.parallel(1, [&](std::int64_t, int) {
      first_item[0] = 0;
      for (std::int64_t s = 0; s < seqs.count; ++s) first_item[s + 1] = first_item[s] + shape.kv_heads * tiles(seqs, shape, s);
    });
    if (exec.workspace.measuring()) return;
    exec.parallel(first_item[seqs.count], [&](std::int64_t item, int thread) {
      std::int64_t const s = std::upper_bound(first_item, first_item + seqs.count, item) - first_item - 1;
      std::int64_t const n = tiles(seqs, shape, s), here = item - first_item[s];
      row_tile(seqs, s, shape, here / n, here % n * tile_rows, q, out, workspace(memory + thread * per_thread, shape));
    });
  }

 private:
  using value = typename exec::cpu<P>::kv_type;
  static constexpr int most = panels::max_rows(dtype::f32);
  static constexpr std::int64_t block = page_tokens, tile_rows = 4 * most;
  static_assert(block % panels::panel == 0 && block % 16 == 0);

  static std::int64_t padded(std::int64_t dim) { return (dim + panels::panel - 1) / panels::panel * panels::panel; }
  static std::int64_t tiles(sequences<float> const& seqs, attend_shape shape, std::int64_t s) {
    return (seqs.tokens(s) * (shape.heads / shape.kv_heads) + tile_rows - 1) / tile_rows;
  }

  struct workspace {
    float *q, *p, *p_packed, *sum, *most, *total;
    workspace(float* memory, attend_shape shape)
        : q(memory),
          p(q + tile_rows * shape.dim),
          p_packed(p + tile_rows * block),
          sum(p_packed + tile_rows * block),
          most(sum + tile_rows * padded(shape.dim)),
          total(most + tile_rows) {}
    static std::int64_t floats(attend_shape shape) { return tile_rows * (shape.dim + 2 * block + padded(shape.dim) + 2); }
  };

  static void row_tile(sequences<float> const& seqs, std::int64_t s, attend_shape shape, std::int64_t head, std::int64_t first,
                       matrix_view<float const> q, matrix_view<float> out, workspace w) {
    std::int64_t const share = shape.heads / shape.kv_heads, rows = std::min(tile_rows, seqs.tokens(s) * share - first);
    std::int64_t const dim = shape.dim, columns = padded(dim);
    panels::row_groups const groups{rows, most};
    page_layout const at{shape.kv_heads, dim};
    auto const position = [&](std::int64_t r) { return seqs.length[s] + (first + r) / share; };
    auto const offset = [&](std::int64_t r) { return (head * share + (first + r) % share) * dim; };

    float const scale = 1.0f / std::sqrt(static_cast<float>(dim));
    for (std::int64_t g = 0; g < groups.count(); ++g)
      for (std::int64_t m = 0; m < groups.size(g); ++m) {
        std::int64_t const r = groups.first(g) + m;
        float const* const from = q.row(seqs.first_row[s] + (first + r) / share) + offset(r);
        for (std::int64_t d = 0; d < dim; ++d) w.q[groups.first(g) * dim + d * groups.size(g) + m] = from[d] * scale;
      }
    for (std::int64_t r = 0; r < rows; ++r) w.most[r] = -std::numeric_limits<float>::infinity(), w.total[r] = 0;
    for (std::int64_t i = 0; i < rows * columns; ++i) w.sum[i] = 0;

    for (std::int64_t b = 0; b <= position(rows - 1) / block; ++b) {
      value const* const page = seqs.template page_of<value>(s, b);
      auto const seen = [&](std::int64_t r) { return std::min(block, position(r) - b * block + 1); };  // keys of this block; rows only grow
      for (std::int64_t g = 0; g < groups.count(); ++g) {
        std::int64_t const r0 = groups.first(g), size = groups.size(g);
        if (seen(r0 + size - 1) <= 0) continue;
        panels::with_rows<most>(size, [&](auto rows_here) {
          for (std::int64_t c = 0; c < block; c += panels::panel) {
            panels::tile<rows_here> t;
            t.start();
            panels::multiply<rows_here>(t, page + at.key(head, 0, c), block, w.q + r0 * dim, dim);
            for (int m = 0; m < rows_here; ++m) t.write(m, w.p + (r0 + m) * block + c, panels::panel);
          }
        });
        for (std::int64_t r = r0; r < r0 + size; ++r)
          if (seen(r) > 0) softmax_step(w.p + r * block, seen(r), w.most[r], w.total[r], w.sum + r * columns, columns);
        value const* const values = page + at.value(head, 0, 0);
        if (seen(r0) == block) {  // then every row of the group sees the whole block
          for (std::int64_t m = 0; m < size; ++m)
            for (std::int64_t i = 0; i < block; ++i) w.p_packed[i * size + m] = w.p[(r0 + m) * block + i];
          panels::with_rows<most>(size,
                            [&](auto rows_here) { add_values<rows_here>(w.p_packed, values, dim, block, w.sum + r0 * columns, columns); });
        } else {  // the causal edge: each row on its own, so that none reads a key it may not see
          for (std::int64_t r = r0; r < r0 + size; ++r)
            if (seen(r) > 0) add_values<1>(w.p + r * block, values, dim, seen(r), w.sum + r * columns, columns);
        }
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      float* const to = out.row(seqs.first_row[s] + (first + r) / share) + offset(r);
      simd::packet const total = simd::set(w.total[r]);
      simd::for_each_packet(
          dim, [&](std::int64_t d, std::int64_t n) { simd::store(to + d, simd::div(simd::load(w.sum + r * columns + d), total), n); });
    }
  }

  /// Scores p[0, seen) become exp(p - most), the rest 0; sums made with the old maximum are scaled down to the new one.
  static void softmax_step(float* p, std::int64_t seen, float& most, float& total, float* sum, std::int64_t columns) {
    using namespace simd;
    for (std::int64_t i = seen; i < block; ++i) p[i] = -std::numeric_limits<float>::infinity();
    packet m = load(p);
    for (std::int64_t i = width; i < block; i += width) m = max(load(p + i), m);
    float const larger = std::max(most, Eigen::internal::predux_max(m));  // a maximum is exact in any order
    packet const shift = set(larger), scale = set(exp(most - larger));
    for (std::int64_t i = 0; i < block; i += width) store(p + i, exp(sub(load(p + i), shift)));
    for (std::int64_t i = seen; i < block; ++i) p[i] = 0;
    lane_sum of_block;
    of_block.add_values(p, block);
    total = Eigen::internal::pfirst(fma(set(total), scale, set(of_block.total())));
    most = larger;
    for (std::int64_t d = 0; d < columns; d += width) store(sum + d, mul(load(sum + d), scale));
  }

  /// sum[m] += p[k][m] * values[k] over `keys` keys. Columns beyond dim are computed from what lies behind a row and never used.
  template <int Rows>
  static void add_values(float const* p, value const* values, std::int64_t dim, std::int64_t keys, float* sum, std::int64_t columns) {
    for (std::int64_t c = 0; c < columns; c += panels::panel) {
      panels::tile<Rows> t;
      for (int m = 0; m < Rows; ++m)
        for (int h = 0; h < 2; ++h) t.sum[m][h] = simd::load(sum + m * columns + c + h * simd::width);
      panels::multiply<Rows>(t, values + c, dim, p, keys);
      for (int m = 0; m < Rows; ++m) t.write(m, sum + m * columns + c, panels::panel);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
