// The kernel that sums the outputs of the chosen experts of a token.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (t, piece) of columns.
/// Equation: y[t] = sum_j weight[t, j] x[place[t, j]], from j = 0 upwards; without places, row t
///   choices + j
/// Test: tests/unit/ops/routing/experts_gpu_test.cpp
template <class X, class T>
struct combine_experts {
  struct args {
    rows_of<X const> x;
    rows_of<float const> weight;
    rows_of<std::int32_t const> place;
    rows_of<T> y;
    std::int64_t choices, cols;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const t = b.x();
    for (std::int64_t c = (b.y() * threads + b.thread()) * vector_elements; c < a.cols;
         c += b.grid_y() * threads * vector_elements) {
      float sum[vector_elements] = {};
      for (std::int64_t j = 0; j < a.choices; ++j) {
        float const weight = a.weight.row(t)[j];
        float v[vector_elements];
        load_vector(a.x.row(a.place.data != nullptr ? a.place.row(t)[j] : t * a.choices + j) + c,
                    a.cols - c, a.x.aligned, v);
        PLAIT_UNROLL
        for (int i = 0; i < vector_elements; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
      }
      store_vector(a.y.row(t) + c, a.cols - c, a.y.aligned, sum);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
