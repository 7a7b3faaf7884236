// Products by a library, `gemm` of the execution policy, and what it does not do around it. int8
// weights are written to the workspace as bf16, rounded, part by part.
// Cost: of int8 weights a byte is read, two are written and read; workspace: at most MaxValues
//   bf16, of which there are 2^26
// Test: tests/unit/ops/linear/linear_gpu_test.cpp, tests/unit/ops/linear/gated_linear_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_storage.hpp>
#include <plait/gpu/matrix_product.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// int8 weights as rows of bf16, rounded: a warp a tile. Rows are tile_cols col_tiles() values
/// apart; those beyond the last are zero.
struct dequantize {
  struct args {
    device_weights<dtype::int8> weight;
    bf16_t* rows;
  };
  static constexpr int warps = 8, threads = warps * warp_size;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    auto const& w = a.weight;
    std::int64_t const tiles = w.col_tiles(), stride = tiles * w.tile_cols;
    int const lane = b.lane();
    for (std::int64_t k = b.y() * warps + b.warp(); k < tiles; k += b.grid_y() * warps) {
      std::int64_t const tile = b.x() * tiles + k;
      words4 const packed =
          load_once(reinterpret_cast<words4 const*>(w.data + tile * w.tile_bytes + lane * 16));
      PLAIT_UNROLL
      for (int half = 0; half < 2; ++half) {
        float const scale = widen_f16(w.scales[tile * w.tile_rows + half * 8 + lane / 4]);
        float v[vector_elements];
        PLAIT_UNROLL
        for (int i = 0; i < vector_elements; ++i)
          v[i] = scale * static_cast<float>(static_cast<std::int8_t>(
                             packed.word[i / 2] >> (8 * half + 16 * (i % 2)) & 0xffu));
        store_vector(a.rows + (b.x() * w.tile_rows + half * 8 + lane / 4) * stride +
                         k * w.tile_cols + lane % 4 * vector_elements,
                     vector_elements, true, v);
      }
    }
  }
};

}  // namespace kernels

namespace ops {

/// A product by the library: bf16 weights as they are, int8 weights as bf16 in the workspace, at
/// most MaxValues of them at a time.
template <dtype Stored, std::int64_t MaxValues = std::int64_t{1} << 26>
class library_gemm {
 public:
  /// For weights of the shapes of these.
  template <class Exec, class... Weights>
  explicit library_gemm(Exec& exec, Weights const&... weights) {
    if constexpr (Stored == dtype::int8) {
      values_ =
          std::max({std::min(weights.padded_rows(), rows_at_once(weights)) * stride(weights)...});
      scratch_ = exec.workspace.template take<bf16_t>(values_);
    }
  }
  /// y = x W^T with copy 0 of W.
  template <class Exec, class Y>
  void multiply(Exec& exec, matrix_view<bf16_t const> x, device_weights<Stored> const& w,
                matrix_view<Y> y) const {
    if constexpr (Stored == dtype::bf16) {
      gemm(exec, x, reinterpret_cast<bf16_t const*>(w.data), w.stride(), y);
    } else {
      std::int64_t const at_once = values_ / stride(w) / 16 * 16;
      for (std::int64_t n = 0; n < w.rows; n += at_once) {
        device_weights<Stored> part{w.data + n / 16 * w.col_tiles() * w.tile_bytes,
                                    w.scales + n * w.col_tiles(), 1, std::min(at_once, w.rows - n),
                                    w.cols};
        exec.template launch<kernels::dequantize>(
            {.x = part.row_tiles(), .y = std::min<std::int64_t>((part.col_tiles() + 7) / 8, 32)},
            {part, scratch_});
        gemm(exec, x, scratch_, stride(w), y.middle_cols(n, part.rows));
      }
    }
  }

 private:
  static std::int64_t stride(device_weights<Stored> const& w) {
    return w.col_tiles() * w.tile_cols;
  }
  static std::int64_t rows_at_once(device_weights<Stored> const& w) {
    return std::max<std::int64_t>(MaxValues / stride(w) / 16 * 16, 16);
  }

  template <class Exec, class Y>
  static void gemm(Exec& exec, matrix_view<bf16_t const> x, bf16_t const* w, std::int64_t stride,
                   matrix_view<Y> y) {
    exec.gemm(exec::matrix_product<bf16_t, Y>{x.data(), x.stride(), w, stride, y.data(), y.stride(),
                                              x.rows(), y.cols(), x.cols()});
  }

  bf16_t* scratch_ = nullptr;
  std::int64_t values_ = 0;
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
