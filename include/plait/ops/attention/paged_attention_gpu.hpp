// attend on a device: which kernels, and how work is shared out. Which kernels a call takes, and in
// how many splits of the context.
//
// A runtime may have attention by a library (cuda/cudnn_attention.cuh). It is asked for a call of
// one sequence that has nothing cached and more than one new token, on the way of tensor cores, and
// does the first tokens of it, as many as it likes: keys and values are read where they were
// computed, and written to pages as ever. Kernels do the rest, and everything on top of cached
// tokens: so a prompt that is given in chunks has its first one done by the library, and one that
// is given at once, where memory allows that, all of it. Where out is q the result goes by way of
// the workspace, as many values again as q.
// Equation: weights are rounded to bf16 before they meet bf16 values, relative error 2^-9 each;
//   scores, softmax and sums are f32. A query sees nothing of later tokens, whatever is there.
//   Splits are the fewest that keep the device nearly as busy as the best number would; their sums
//   are merged in order
// Shapes: bf16 activations, keys and values with dim a multiple of 8 up to 256 go to tensor cores,
//   by `attention_decode` where no sequence has more than one new token and by `attention_prefill`
//   else;
//   every other call to `attention_f32`
// Cost: scratch for parts: at most 128 (dim + 2) floats a multiprocessor, whatever the context
// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/ops/attention/gpu/append_pages.hpp>
#include <plait/ops/attention/gpu/attention_decode.hpp>
#include <plait/ops/attention/gpu/attention_f32.hpp>
#include <plait/ops/attention/gpu/attention_prefill.hpp>
#include <plait/ops/attention/paged_attention.hpp>
#include <plait/ops/rows/gather_rows_gpu.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// bf16 activations, keys and values of a dim that is a multiple of 8 and at most 256: tensor
/// cores; anything else: attention_f32. Where the runtime has attention by a library, that is asked
/// first for a prompt that has nothing cached, and does as much of it as it likes.
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
      if (shape.dim == 64) return tiled<64, false>(exec, c);
      if (shape.dim == 128) return tiled<128, false>(exec, c);
      if (shape.dim == 256) return tiled<256, false>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 64) return tiled<64, true>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 128) return tiled<128, true>(exec, c);
      if (shape.dim % 8 == 0 && shape.dim < 256) return tiled<256, true>(exec, c);
    }
    plain(exec, c);
  }

 private:
  struct call {
    sequences<T> const& seqs;
    page_layout at;
    std::int64_t heads, group_size;
    matrix_view<T const> q, k, v;
    matrix_view<T> out;
    float scale;
  };

  static void append(device& exec, call const& c) {
    using kernel = kernels::append_pages<T, value>;
    exec.template launch<kernel>(
        {.x = kernels::max_tiles(c.seqs.count, c.k.rows(), 1, kernel::square), .y = c.at.heads},
        {c.seqs, c.k, c.v, c.at});
  }

  static void plain(device& exec, call const& c) {
    using kernel = kernels::attention_f32<T, value>;
    append(exec, c);
    matrix_view<T const> q = c.q;
    if (c.at.dim > kernel::columns) {  // a run of dimensions is written before the scores of the
                                       // next one need all of q
      auto const copy = exec.template matrix<T>(q.rows(), q.cols());
      gather_rows(exec, q, nullptr, copy);
      q = copy;
    }
    exec.template launch<kernel>({.x = q.rows(), .y = c.heads},
                                 {c.seqs, q, c.out, c.at, c.group_size, c.scale});
  }

  template <int Dim, bool Padded>
  static void tiled(device& exec, call c) {
    using decode = kernels::attention_decode<Dim, Padded>;
    using prefill = kernels::attention_prefill<Dim, Padded, Dim <= 128 ? 4 : 8>;
    using combine = kernels::attention_combine<T>;
    std::int64_t done = 0;
    if constexpr (device::has_attention) {
      done = by_library(exec, c);
      c.q = c.q.middle_rows(done, c.q.rows() - done);
      c.out = c.out.middle_rows(done, c.out.rows() - done);
    }
    std::int64_t const rows = c.q.rows(), busy = exec.runtime.multiprocessor_count();
    // Parts are for calls that are too small to keep the device busy, so that there are never many:
    // the scratch does not depend on the context, of which nothing is known while it is measured.
    // What a library leaves of a call may be a small one, whatever the call is.
    std::int64_t const most = rows == 0
                                  ? 1
                                  : std::min(std::int64_t{combine::max_splits},
                                             parts_per_multiprocessor * busy / (rows * c.heads));
    std::int64_t const places =
        device::has_attention ? parts_per_multiprocessor * busy : rows * c.heads * most;
    kernels::attention_parts parts;
    if (most > 1 || device::has_attention)
      parts = {exec.workspace.template take<float>(places * c.at.dim),
               exec.workspace.template take<float>(places),
               exec.workspace.template take<float>(places)};
    auto const splits_for = [&](std::int64_t blocks, std::int64_t at_once,
                                std::int64_t least_pages) {
      std::int64_t const n = best_splits(
          blocks, at_once * busy, std::min(most, c.seqs.context / page_tokens / least_pages));
      if (n == 1) parts = {};
      return n;
    };
    std::int64_t splits = 1;
    if (c.seqs.longest <= 1) {
      std::int64_t const groups =
          c.at.heads * ((c.group_size + decode::columns - 1) / decode::columns);
      splits = splits_for(c.seqs.count * groups, decode::blocks, decode::warps);
      exec.template launch<decode>(
          {.x = c.seqs.count * splits, .y = groups},
          {c.seqs, c.q, c.k, c.v, c.out, parts, c.at, c.group_size, splits, c.scale});
    } else {
      append(exec, c);
      if (rows == 0) return;
      std::int64_t const tiles =
          kernels::max_tiles(c.seqs.count, rows, c.group_size, prefill::rows);
      splits = splits_for(tiles * c.at.heads, prefill::blocks, 4);
      exec.template launch<prefill>(
          {.x = tiles * splits, .y = c.at.heads},
          {c.seqs, c.q, c.out, parts, c.at, c.group_size, splits, c.scale, done});
    }
    if (splits > 1)
      exec.template launch<combine>({.x = rows, .y = c.heads},
                                    {parts, c.out, c.at.dim, splits, c.scale});
  }

  /// The first tokens of a prompt that has nothing cached, by a library: how many. It reads keys
  /// and values where they are computed, not from pages. Nobody promises that it may write over its
  /// queries: where out is q, its result is copied there.
  static std::int64_t by_library(device& exec, call const& c) requires(device::has_attention) {
    bool const measuring = exec.workspace.measuring();
    if (!measuring && (c.seqs.count != 1 || c.seqs.cached != 0 || c.seqs.longest <= 1)) return 0;
    arena::frame const scratch(exec.workspace);
    bool const in_place = measuring || c.out.data() == c.q.data();
    matrix_view<T> const out =
        in_place ? exec.template matrix<T>(c.out.rows(), c.out.cols()) : c.out;
    std::int64_t const done =
        exec.attention({c.q.data(), c.q.stride(), c.k.data(), c.k.stride(), c.v.data(),
                        c.v.stride(), out.data(), out.stride(), c.q.rows(), c.heads, c.at.heads,
                        c.at.dim, 1 / std::sqrt(static_cast<float>(c.at.dim))});
    if (in_place && done > 0)
      gather_rows(exec, out.middle_rows(0, done), nullptr, c.out.middle_rows(0, done));
    return done;
  }

  static constexpr std::int64_t parts_per_multiprocessor = 128;

  /// The device has `room` for so many blocks at once, and is done when its last round of them is:
  /// the fewest splits of each block that leave at most a tenth more of it idle than the best
  /// number does, of four rounds at most.
  static std::int64_t best_splits(std::int64_t blocks, std::int64_t room, std::int64_t most) {
    auto const busy_part = [&](std::int64_t n) {
      return static_cast<double>(blocks * n) /
             static_cast<double>((blocks * n + room - 1) / room * room);
    };
    most = std::max<std::int64_t>(1, std::min(most, 4 * room / blocks));
    double best = 0;
    for (std::int64_t n = 1; n <= most; ++n) best = std::max(best, busy_part(n));
    std::int64_t n = 1;
    while (busy_part(n) < 0.9 * best) ++n;
    return n;
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
