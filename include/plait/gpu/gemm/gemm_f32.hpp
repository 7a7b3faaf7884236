// Products with f32 weights: the router's for any number of rows, and all products of a device
// whose weights are f32. A block computes 8 outputs of 1 or 4 rows; its warps split the columns.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// y[row, n] = sum_k x[row, k] W[n, k] (+ bias[n]) for `Rows` rows and 8 n per block. With `expert`
/// [T, K], row r of y uses copy expert[r / K, r % K] of W and row r / K of x, or row r if `spread`.
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
  static constexpr int warps = sizeof(X) == 4 ? 2 : 8;
  static constexpr int threads = warps * warp_size;
  static constexpr int outputs = 8;
  static constexpr int values = outputs * Rows;
  static_assert(Rows == 1 || Rows == 4);  // a warp reduces at most as many values as it has lanes
  template <class>
  struct shared {
    float sums[warps][values];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const row = b.x() * Rows;
    std::int64_t const n = b.y() * outputs;
    std::int64_t const cols = a.weight.cols;
    std::int64_t expert = 0;
    std::int64_t x_row = row;
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
        std::int64_t const from = row + r < a.rows ? x_row + r : x_row;
        load_vector(a.x.row(from) + k, cols - k, a.x.aligned, x[r]);
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
    // Reduces all sums at once: each lane keeps half of its sums and adds those of another lane.
    PLAIT_UNROLL
    for (int half = values / 2; half > 0; half /= 2) {
      bool const upper = (b.lane() & half) != 0;
      PLAIT_UNROLL
      for (int i = 0; i < half; ++i) {
        float const own = upper ? sums[i + half] : sums[i];
        float const sent = upper ? sums[i] : sums[i + half];
        sums[i] = own + b.shuffle_xor(sent, half);
      }
    }
    PLAIT_UNROLL
    for (int mask = values; mask < warp_size; mask *= 2) sums[0] += b.shuffle_xor(sums[0], mask);
    if (b.lane() < values) s.sums[b.warp()][b.lane()] = sums[0];
    b.sync();
    int const r = b.thread() / outputs;
    int const o = b.thread() % outputs;
    if (r >= Rows || row + r >= a.rows || n + o >= a.weight.rows) return;
    float y = a.bias != nullptr ? a.bias[n + o] : 0.0f;
    for (int i = 0; i < warps; ++i) y += s.sums[i][b.thread()];
    a.y.row(row + r)[n + o] = narrow<Y>(y);
  }
};

}  // namespace kernels

namespace ops {

/// Launches kernels::gemm_f32.
///
/// Equation: y[r, n] = (bias[n] +) sum over k of x[r, k] W[n, k]; a lane sums 8 columns at a time,
///   lanes are added in pairs, then warps in order. Row r of y uses copy 0 of W, or, with `expert`,
///   copy expert[r / K, r % K] and row r / K of x, or row r if `spread`
/// Shapes: `expert` is [T, K] or empty; with it y has T K rows, x has T, or T K if `spread`
/// Cost: W is read once per 4 rows, or per row where there are at most 64; x once per 8 outputs
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
