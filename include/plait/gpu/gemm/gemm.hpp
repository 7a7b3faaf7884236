// Products of many rows by a library; int8 weights are dequantized to bf16 in the workspace first.
// Test: tests/unit/ops/linear/linear_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/view.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/gemm/dequantize.hpp>
#include <plait/gpu/matrix_product.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// y = x W^T by `gemm` of the execution policy: bf16 weights as they are, int8 weights rounded to
/// bf16 in the workspace, at most MaxValues of them at a time.
///
/// Cost: int8 reads one byte per weight, writes two and reads two; workspace for at most MaxValues
///   bf16
/// Test: tests/unit/ops/linear/linear_gpu_test.cpp, tests/unit/ops/linear/gated_linear_gpu_test.cpp
template <dtype Stored, std::int64_t MaxValues = std::int64_t{1} << 26>
class library_gemm {
 public:
  /// Takes workspace for products with weights of these shapes.
  template <class Exec, class... Weights>
  explicit library_gemm(Exec& exec, Weights const&... weights) {
    if constexpr (Stored == dtype::int8) {
      values_ = std::max({std::min(weights.padded_rows(), max_rows(weights)) * stride(weights)...});
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
      std::int64_t const part_rows = values_ / stride(w) / 16 * 16;
      for (std::int64_t n = 0; n < w.rows; n += part_rows) {
        device_weights<Stored> part{w.data + n / 16 * w.col_tiles() * w.tile_bytes,
                                    w.scales + n * w.col_tiles(), 1,
                                    std::min(part_rows, w.rows - n), w.cols};
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
  static std::int64_t max_rows(device_weights<Stored> const& w) {
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
