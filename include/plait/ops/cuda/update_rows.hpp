// A matrix changed by another of its shape: a residual or a bias added, or the gate of SwiGLU.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/cuda/vector.hpp>

#include <cstdint>
#include <type_traits>

namespace plait::inline PLAIT_ABI::kernels {

/// What is done to a row.
enum class update {
  add,   ///< y + x
  gate,  ///< silu(x) y
};

/// y[row] becomes what Kind makes of x[row] and y[row], in f32, rounded once.
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
    for (std::int64_t c = b.thread() * std::int64_t{lot}; c < a.cols; c += threads * lot) {
      float p[lot], q[lot];
      load_lot(x + c, a.cols - c, a.x.aligned, p), load_lot(y + c, a.cols - c, a.y.aligned, q);
      PLAIT_UNROLL
      for (int i = 0; i < lot; ++i) q[i] = Kind == update::add ? q[i] + p[i] : silu(p[i]) * q[i];
      store_lot(y + c, a.cols - c, a.y.aligned, q);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

/// x may have a stride of 0: one row for all of y's.
/// Equation: y + x, or silu(x) y, in f32, rounded once
/// Shapes: x with a stride of 0 is one row for all of y's
/// Test: tests/ops/cuda/pointwise_test.cpp, tests/ops/cuda/linear_test.cpp
template <kernels::update Kind, class Exec, class X, class Y>
void update_rows(Exec& exec, matrix_view<X> x, matrix_view<Y> y) {
  exec.template launch<kernels::update_rows<Kind, std::remove_const_t<X>, Y>>({.x = y.rows()}, {matrix_view<X const>(x), y, y.cols()});
}

}  // namespace plait::inline PLAIT_ABI::ops
