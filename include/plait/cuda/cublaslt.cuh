// Matrix products by cuBLASLt.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sentence.hpp>
#include <plait/cuda/memory.cuh>
#include <plait/gpu/matrix_product.hpp>

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// cuBLASLt with its workspace and the algorithms chosen so far.
///
/// Equation: y = x w^T with sums in f32; f32 is not rounded to TF32
/// Errors: plait::error where cuBLASLt fails or has no algorithm, with the shapes
/// Cost: one query for an algorithm per shape, which takes longer than a small product; numbers of
///   rows above 256 share an algorithm with similar ones, so that ragged calls seldom query. 32 MiB
///   of the device
/// Test: tests/unit/cuda/launch_test.cu, tests/unit/cuda/runtime_test.cu
class cublaslt_gemm {
 public:
  static constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;

  cublaslt_gemm() {
    cublasLtHandle_t handle = nullptr;
    cuda_check::check(cublasLtCreate(&handle), "cublasLtCreate");
    handle_.reset(handle);
  }

  template <class X, class Y>
  void run(matrix_product<X, Y> const& p, cudaStream_t stream) {
    static_assert(std::is_same_v<X, float> ? std::is_same_v<Y, float> : std::is_same_v<X, bf16_t>);
    // A row-major matrix is the column-major transpose: y^T [n, rows] = (w^T)^T [n, k] x^T [k,
    // rows].
    cublasLtMatmulDescOpaque_t product;
    cublasLtMatrixLayoutOpaque_t w;
    cublasLtMatrixLayoutOpaque_t x;
    cublasLtMatrixLayoutOpaque_t y;
    check(cublasLtMatmulDescInit(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    cublasOperation_t const transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(&product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                         sizeof transposed));
    auto const set_layouts = [&](std::int64_t rows) {
      check(cublasLtMatrixLayoutInit(&w, type<X>, std::uint64_t(p.k), std::uint64_t(p.n),
                                     p.w_stride));
      check(cublasLtMatrixLayoutInit(&x, type<X>, std::uint64_t(p.k), std::uint64_t(rows),
                                     p.x_stride));
      check(cublasLtMatrixLayoutInit(&y, type<Y>, std::uint64_t(p.n), std::uint64_t(rows),
                                     p.y_stride));
    };
    std::array<std::int64_t, 3> const alignment{alignment_of(p.w), alignment_of(p.x),
                                                alignment_of(p.y)};
    auto const algorithm_for = [&](std::int64_t rows) -> cublasLtMatmulAlgo_t const& {
      key const k{rows,
                  p.n,
                  p.k,
                  p.w_stride,
                  p.x_stride,
                  p.y_stride,
                  alignment[0] | alignment[1] << 8 | alignment[2] << 16,
                  std::int64_t{sizeof(X)} | std::int64_t{sizeof(Y)} << 8};
      auto const known = algorithms_.find(k);
      if (known != algorithms_.end()) return known->second;
      if (algorithms_.size() >= max_algorithms) algorithms_.clear();
      set_layouts(rows);
      return algorithms_.emplace(k, choose(product, w, x, y, alignment, p.n, p.k, rows))
          .first->second;
    };
    auto const multiply = [&](cublasLtMatmulAlgo_t const& algorithm) {
      float const one = 1;
      float const zero = 0;
      set_layouts(p.rows);
      return cublasLtMatmul(handle_.get(), &product, &one, p.w, &w, p.x, &x, &zero, p.y, &y, p.y,
                            &y, &algorithm, workspace_.data(), std::size_t(workspace_bytes),
                            stream);
    };
    std::int64_t const shared_rows = rows_of_algorithm(p.rows);
    cublasStatus_t status = multiply(algorithm_for(shared_rows));
    if (shared_rows != p.rows &&
        (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE))
      status = multiply(algorithm_for(p.rows));
    if (status != CUBLAS_STATUS_SUCCESS)
      cuda_check::check(
          status,
          sentence("cublasLtMatmul of [{}, {}] with [{}, {}]^T", p.rows, p.k, p.n, p.k).c_str());
  }

 private:
  using key = std::array<std::int64_t, 8>;
  static constexpr std::size_t max_algorithms = 8192;

  template <class T>
  static constexpr cudaDataType_t type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;

  static void check(cublasStatus_t status) {
    cuda_check::check(status, "describing a product to cuBLASLt");
  }

  /// Alignment of an address, up to 16 bytes.
  static std::int64_t alignment_of(void const* p) {
    auto const at = reinterpret_cast<std::uintptr_t>(p);
    return static_cast<std::int64_t>(std::min<std::uintptr_t>(at & (~at + 1), 16));
  }
  /// Rows whose algorithm `rows` rows use: themselves up to 256, then eight numbers per octave.
  static std::int64_t rows_of_algorithm(std::int64_t rows) {
    if (rows <= 256) return rows;
    std::int64_t const step =
        static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(rows))) / 8;
    return (rows + step - 1) / step * step;
  }

  cublasLtMatmulAlgo_t choose(cublasLtMatmulDescOpaque_t& product, cublasLtMatrixLayoutOpaque_t& w,
                              cublasLtMatrixLayoutOpaque_t& x, cublasLtMatrixLayoutOpaque_t& y,
                              std::array<std::int64_t, 3> const& alignment, std::int64_t n,
                              std::int64_t k, std::int64_t rows) const {
    cublasLtMatmulPreferenceOpaque_t preference;
    check(cublasLtMatmulPreferenceInit(&preference));
    auto const set = [&](cublasLtMatmulPreferenceAttributes_t which, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(&preference, which, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(workspace_bytes));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t(alignment[0]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t(alignment[1]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t(alignment[2]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t(alignment[2]));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    cublasStatus_t const status = cublasLtMatmulAlgoGetHeuristic(
        handle_.get(), &product, &w, &x, &y, &y, &preference, 1, &found, &count);
    if (status == CUBLAS_STATUS_SUCCESS && count > 0 && found.state == CUBLAS_STATUS_SUCCESS)
      return found.algo;
    throw error(sentence("exec::cuda: cuBLASLt has no algorithm for [{}, {}] with [{}, {}]^T ({})",
                         rows, k, n, k, cublasLtGetStatusName(status)));
  }

  struct destroy {
    void operator()(cublasLtHandle_t handle) const { (void)cublasLtDestroy(handle); }
  };
  std::unique_ptr<std::remove_pointer_t<cublasLtHandle_t>, destroy> handle_;
  cuda_memory::buffer<std::byte> workspace_{workspace_bytes};
  std::map<key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
