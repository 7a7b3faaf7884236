// Products with f32 weights: the router's, at any number of rows, and, for comparison, all of a
// device whose weights are f32. A block computes 8 outputs of 1 or 4 rows; its warps share the
// columns.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_storage.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// y[row, n] = sum_k x[row, k] W[n, k] (+ bias[n]) for `Rows` rows and 8 n a block, whose warps
/// share the columns. With `expert` [T, K], row r meets copy expert[r / K, r % K] of W, and is row
/// r / K of x, or, `spread`, row r.
template <class X, class Y, int Rows>
struct gemm_f32 {
  struct args {
    rows_of<X const> x;
    device_weights<dtype::f32> weight;
    float const* bias;
    rows_of<Y> y;
    std::int64_t rows;
    rows_of<std::int32_t const> expert;
    std::int64_t choices;  ///< K
    bool spread;
  };
  static constexpr int warps = sizeof(X) == 4 ? 2 : 8, threads = warps * warp_size, outputs = 8,
                       values = outputs * Rows;
  static_assert(Rows == 1 || Rows == 4);  // a warp adds up at most as many values as it has lanes
  template <class>
  struct shared {
    float sums[warps][values];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const row = b.x() * Rows, n = b.y() * outputs, cols = a.weight.cols;
    std::int64_t expert = 0, x_row = row;
    if (Rows == 1 && a.expert.data != nullptr) {
      std::int64_t const t = row / a.choices;
      expert = a.expert.row(t)[row % a.choices];
      if (!a.spread) x_row = t;
    }
    auto const weight = a.weight.copy(expert);
    float const* const w = reinterpret_cast<float const*>(weight.data);
    float sums[values] = {};
    for (std::int64_t k = b.thread() * std::int64_t{vector_elements}; k < cols;
         k += threads * vector_elements) {
      float x[Rows][vector_elements];
      PLAIT_UNROLL
      for (int r = 0; r < Rows; ++r) {
        std::int64_t const its = row + r < a.rows ? x_row + r : x_row;
        load_vector(a.x.row(its) + k, cols - k, a.x.aligned, x[r]);
      }
      PLAIT_UNROLL
      for (int o = 0; o < outputs; ++o) {
        float v[vector_elements];
        load_vector(w + (n + o < a.weight.rows ? n + o : n) * weight.stride() + k, cols - k, true,
                    v);
        PLAIT_UNROLL
        for (int r = 0; r < Rows; ++r) {
          PLAIT_UNROLL
          for (int i = 0; i < vector_elements; ++i)
            sums[r * outputs + o] = fmaf(x[r][i], v[i], sums[r * outputs + o]);
        }
      }
    }
    // All sums at once: a lane keeps half of what it has, and adds what another lane has of that.
    PLAIT_UNROLL
    for (int half = values / 2; half > 0; half /= 2) {
      bool const upper = (b.lane() & half) != 0;
      PLAIT_UNROLL
      for (int i = 0; i < half; ++i) {
        float const kept = upper ? sums[i + half] : sums[i],
                    given = upper ? sums[i] : sums[i + half];
        sums[i] = kept + b.shuffle_xor(given, half);
      }
    }
    PLAIT_UNROLL
    for (int mask = values; mask < warp_size; mask *= 2) sums[0] += b.shuffle_xor(sums[0], mask);
    if (b.lane() < values) s.sums[b.warp()][b.lane()] = sums[0];
    b.sync();
    int const r = b.thread() / outputs, o = b.thread() % outputs;
    if (r >= Rows || row + r >= a.rows || n + o >= a.weight.rows) return;
    float y = a.bias != nullptr ? a.bias[n + o] : 0.0f;
    for (int i = 0; i < warps; ++i) y += s.sums[i][b.thread()];
    a.y.row(row + r)[n + o] = narrow<Y>(y);
  }
};

}  // namespace kernels

namespace ops {

/// Launches gemm_f32. `expert` [T, K] is empty where all rows meet copy 0; else y has T K rows, and
/// x T or, spread, T K.
/// Equation: y[r, n] = (bias[n] +) sum over k of x[r, k] W[n, k]; a lane takes 8 columns at a time,
///   lanes are added in pairs, then warps in order. With `expert` [T, K] row r meets copy expert[r
///   / K, r % K], and is row r / K of x, or, `spread`, row r
/// Cost: W is read once for 4 rows, 1 where there are at most 64, x once for 8 outputs
/// Test: tests/unit/ops/linear/linear_gpu_test.cpp, tests/unit/ops/routing/experts_gpu_test.cpp
template <class Exec, class X, class Y>
void gemm_f32(Exec& exec, matrix_view<X const> x, device_weights<dtype::f32> const& weight,
              float const* bias, matrix_view<Y> y, matrix_view<std::int32_t const> expert = {},
              bool spread = false) {
  std::int64_t const parts = (weight.rows + 7) / 8;
  auto const launch = [&]<int Rows>(std::integral_constant<int, Rows>) {
    using kernel = kernels::gemm_f32<X, Y, Rows>;
    exec.template launch<kernel>(
        {.x = (y.rows() + Rows - 1) / Rows, .y = parts},
        {x, weight, bias, y, y.rows(), expert, expert.cols() > 0 ? expert.cols() : 1, spread});
  };
  if (expert.cols() == 0 && y.rows() > 64)
    launch(std::integral_constant<int, 4>{});
  else
    launch(std::integral_constant<int, 1>{});
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
