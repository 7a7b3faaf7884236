// paged_attention on a device: the choice of kernels, and of the number of splits of the context.
//
// bf16 activations, keys and values with a dim that is a multiple of 8 and at most 256 take tensor
// cores: attention_decode where no sequence has more than one new token, attention_prefill
// otherwise. Every other call takes attention_f32.
//
// A runtime may have a library's attention (cuda/cudnn_attention.cuh). A call that takes tensor
// cores, with one sequence, an empty cache and more than one new token, asks it first. The library
// computes as many of the first tokens as it accepts, and reads keys and values where they were
// computed; all of them are written to pages as usual. Kernels compute the other tokens, and
// everything after cached tokens: of a prompt in chunks the library computes the first chunk, of a
// prompt in one call all of it, if memory allows. Where out is q, the result passes through the
// workspace, which then holds as many values again as q.
// Equation: weights are rounded to bf16 before they multiply bf16 values, relative error 2^-9 each;
//   scores, softmax and sums are f32. A query reads no later token, whatever its page holds. Splits
//   are the fewest that keep the device nearly as busy as the best number would; their sums are
//   merged in order
// Cost: workspace for splits: at most 128 (dim + 2) floats per multiprocessor, whatever the context
// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/ops/attention/gpu/append_pages.hpp>
#include <plait/ops/attention/gpu/attention_combine.hpp>
#include <plait/ops/attention/gpu/attention_decode.hpp>
#include <plait/ops/attention/gpu/attention_f32.hpp>
#include <plait/ops/attention/gpu/attention_parts.hpp>
#include <plait/ops/attention/gpu/attention_prefill.hpp>
#include <plait/ops/attention/gpu/sequence_tiles.hpp>
#include <plait/ops/attention/paged_attention.hpp>
#include <plait/ops/rows/gather_rows_gpu.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct paged_attention_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;
  using value = typename device::kv_type;

  static void run(device& exec, sequences<T> const& seqs, attention_shape shape,
                  matrix_view<T const> q, matrix_view<T const> k, matrix_view<T const> v,
                  matrix_view<T> out) {
    if (q.rows() == 0) return;
    float const scale = 1.44269504f / std::sqrt(static_cast<float>(shape.dim));
    call const c{
        seqs, {shape.kv_heads, shape.dim}, shape.heads, shape.heads / shape.kv_heads, q, k, v, out,
        scale};
    arena::frame const scratch(exec.workspace);
    if constexpr (std::is_same_v<T, bf16_t> && std::is_same_v<value, bf16_t>) {
      if (shape.dim == 64) return by_tensor_cores<64, false>(exec, c);
      if (shape.dim == 128) return by_tensor_cores<128, false>(exec, c);
      if (shape.dim == 256) return by_tensor_cores<256, false>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 64) return by_tensor_cores<64, true>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 128) return by_tensor_cores<128, true>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 256) return by_tensor_cores<256, true>(exec, c);
    }
    by_f32(exec, c);
  }

 private:
  struct call {
    sequences<T> const& seqs;
    page_layout layout;
    std::int64_t heads, group_size;
    matrix_view<T const> q, k, v;
    matrix_view<T> out;
    float scale;
  };

  static void append(device& exec, call const& c) {
    using kernel = kernels::append_pages<T, value>;
    exec.template launch<kernel>(
        {.x = kernels::max_tiles(c.seqs.count, c.k.rows(), 1, kernel::square), .y = c.layout.heads},
        {c.seqs, c.k, c.v, c.layout});
  }

  static void by_f32(device& exec, call const& c) {
    using kernel = kernels::attention_f32<T, value>;
    append(exec, c);
    matrix_view<T const> q = c.q;
    // The kernel writes a run of dimensions before the scores of the next run read all of q.
    if (c.layout.dim > kernel::columns) {
      auto const copy = exec.template matrix<T>(q.rows(), q.cols());
      gather_rows(exec, q, nullptr, copy);
      q = copy;
    }
    exec.template launch<kernel>({.x = q.rows(), .y = c.heads},
                                 {c.seqs, q, c.out, c.layout, c.group_size, c.scale});
  }

  template <int Dim, bool Padded>
  static void by_tensor_cores(device& exec, call c) {
    using decode = kernels::attention_decode<Dim, Padded>;
    using prefill = kernels::attention_prefill<Dim, Padded, Dim <= 128 ? 4 : 8>;
    using combine = kernels::attention_combine<T>;
    std::int64_t computed_tokens = 0;
    if constexpr (device::has_attention) {
      computed_tokens = by_library(exec, c);
      c.q = c.q.middle_rows(computed_tokens, c.q.rows() - computed_tokens);
      c.out = c.out.middle_rows(computed_tokens, c.out.rows() - computed_tokens);
    }
    std::int64_t const rows = c.q.rows();
    std::int64_t const multiprocessors = exec.runtime.multiprocessor_count();
    // Only calls that are too small to keep the device busy are split, so that there are never many
    // parts, and the workspace does not depend on the context, which is unknown while it is
    // measured. The rest that a library leaves may be a small call, whatever the size of the whole
    // one.
    std::int64_t const max_splits =
        rows == 0 ? 1
                  : std::min(std::int64_t{combine::max_splits},
                             parts_per_multiprocessor * multiprocessors / (rows * c.heads));
    std::int64_t const max_parts = device::has_attention
                                       ? parts_per_multiprocessor * multiprocessors
                                       : rows * c.heads * max_splits;
    kernels::attention_parts parts;
    if (max_splits > 1 || device::has_attention)
      parts = {exec.workspace.template take<float>(max_parts * c.layout.dim),
               exec.workspace.template take<float>(max_parts),
               exec.workspace.template take<float>(max_parts)};
    auto const splits_for = [&](std::int64_t blocks, std::int64_t blocks_per_multiprocessor,
                                std::int64_t min_pages) {
      std::int64_t const n =
          best_splits(blocks, blocks_per_multiprocessor * multiprocessors,
                      std::min(max_splits, c.seqs.context / page_tokens / min_pages));
      if (n == 1) parts = {};
      return n;
    };
    std::int64_t splits = 1;
    if (c.seqs.longest <= 1) {
      std::int64_t const groups =
          c.layout.heads * ((c.group_size + decode::columns - 1) / decode::columns);
      splits =
          splits_for(c.seqs.count * groups, decode::min_blocks_per_multiprocessor, decode::warps);
      exec.template launch<decode>(
          {.x = c.seqs.count * splits, .y = groups},
          {c.seqs, c.q, c.k, c.v, c.out, parts, c.layout, c.group_size, splits, c.scale});
    } else {
      append(exec, c);
      if (rows == 0) return;
      std::int64_t const tiles =
          kernels::max_tiles(c.seqs.count, rows, c.group_size, prefill::rows);
      splits = splits_for(tiles * c.layout.heads, prefill::min_blocks_per_multiprocessor, 4);
      exec.template launch<prefill>(
          {.x = tiles * splits, .y = c.layout.heads},
          {c.seqs, c.q, c.out, parts, c.layout, c.group_size, splits, c.scale, computed_tokens});
    }
    if (splits > 1)
      exec.template launch<combine>({.x = rows, .y = c.heads},
                                    {parts, c.out, c.layout.dim, splits, c.scale});
  }

  /// The number of first tokens of a prompt that the library has computed; 0 where the cache is not
  /// empty. The library may not write over its queries: where out is q, its result is copied there.
  static std::int64_t by_library(device& exec, call const& c) requires(device::has_attention) {
    bool const measuring = exec.workspace.measuring();
    if (!measuring && (c.seqs.count != 1 || c.seqs.cached != 0 || c.seqs.longest <= 1)) return 0;
    arena::frame const scratch(exec.workspace);
    bool const in_place = measuring || c.out.data() == c.q.data();
    matrix_view<T> const out =
        in_place ? exec.template matrix<T>(c.out.rows(), c.out.cols()) : c.out;
    std::int64_t const computed =
        exec.attention({c.q.data(), c.q.stride(), c.k.data(), c.k.stride(), c.v.data(),
                        c.v.stride(), out.data(), out.stride(), c.q.rows(), c.heads, c.layout.heads,
                        c.layout.dim, 1 / std::sqrt(static_cast<float>(c.layout.dim))});
    if (in_place && computed > 0)
      gather_rows(exec, out.middle_rows(0, computed), nullptr, c.out.middle_rows(0, computed));
    return computed;
  }

  static constexpr std::int64_t parts_per_multiprocessor = 128;

  /// The device runs `concurrent_blocks` blocks at a time, round after round. The result is the
  /// fewest splits of each block that leave at most a tenth more of the rounds idle than the best
  /// number does, with at most four rounds and `max_splits` splits.
  static std::int64_t best_splits(std::int64_t blocks, std::int64_t concurrent_blocks,
                                  std::int64_t max_splits) {
    auto const utilisation = [&](std::int64_t n) {
      std::int64_t const waves = (blocks * n + concurrent_blocks - 1) / concurrent_blocks;
      return static_cast<double>(blocks * n) / static_cast<double>(waves * concurrent_blocks);
    };
    max_splits = std::max<std::int64_t>(1, std::min(max_splits, 4 * concurrent_blocks / blocks));
    double best = 0;
    for (std::int64_t n = 1; n <= max_splits; ++n) best = std::max(best, utilisation(n));
    std::int64_t n = 1;
    while (utilisation(n) < 0.9 * best) ++n;
    return n;
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
