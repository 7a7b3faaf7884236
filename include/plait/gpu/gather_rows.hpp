// Kernel that copies rows by index, or pads them.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// y[i] = x[rows[i]], or x[i] where rows is null, padded with zeros from column `cols` on.
/// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
template <class T, class Index = std::int64_t>
struct gather_rows {
  struct args {
    rows_of<T const> x;
    Index const* rows;
    rows_of<T> y;
    std::int64_t cols;
    std::int64_t y_cols;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const i = b.x();
    T const* const from = a.x.row(a.rows != nullptr ? std::int64_t{a.rows[i]} : i);
    T* const to = a.y.row(i);
    for (std::int64_t c = b.thread() * std::int64_t{vector_elements}; c < a.y_cols;
         c += threads * vector_elements) {
      float v[vector_elements];  // widening and rounding back is exact
      load_vector(from + c, a.cols - c, a.x.aligned, v);
      store_vector(to + c, a.y_cols - c, a.y.aligned, v);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
