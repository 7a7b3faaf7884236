// Elementwise update of a matrix by another: a residual or bias added, or the gate of SwiGLU.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The new value of y.
enum class update {
  add,   ///< y + x
  gate,  ///< silu(x) y
};

/// y[row] = Kind(x[row], y[row]), computed in f32 and rounded once.
template <update Kind, class X, class Y>
struct update_rows {
  struct args {
    rows_of<X const> x;
    rows_of<Y> y;
    std::int64_t cols;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    X const* const x = a.x.row(b.x());
    Y* const y = a.y.row(b.x());
    for (std::int64_t c = b.thread() * std::int64_t{vector_elements}; c < a.cols;
         c += threads * vector_elements) {
      float p[vector_elements];
      float q[vector_elements];
      load_vector(x + c, a.cols - c, a.x.aligned, p);
      load_vector(y + c, a.cols - c, a.y.aligned, q);
      PLAIT_UNROLL
      for (int i = 0; i < vector_elements; ++i)
        q[i] = Kind == update::add ? q[i] + p[i] : silu(p[i]) * q[i];
      store_vector(y + c, a.cols - c, a.y.aligned, q);
    }
  }
};

}  // namespace kernels

namespace ops {

/// Launches kernels::update_rows.
/// Equation: y = y + x, or silu(x) y, in f32, rounded once
/// Shapes: x and y [T, cols]; a stride of 0 makes x one row for all rows of y
/// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp, tests/unit/ops/linear/linear_gpu_test.cpp
template <kernels::update Kind, class Exec, class X, class Y>
void update_rows(Exec& exec, matrix_view<X> x, matrix_view<Y> y) {
  exec.template launch<kernels::update_rows<Kind, std::remove_const_t<X>, Y>>(
      {.x = y.rows()}, {matrix_view<X const>(x), y, y.cols()});
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
