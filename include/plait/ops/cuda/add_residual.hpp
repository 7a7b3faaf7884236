// add_residual on a device.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/add_residual.hpp>
#include <plait/ops/cuda/vector.hpp>

namespace plait::inline PLAIT_ABI::kernels {

template <class T>
struct add_residual {
  struct args {
    rows_of<T> x;
    rows_of<T const> y;
    std::int64_t cols;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    T* const x = a.x.row(b.x());
    T const* const y = a.y.row(b.x());
    for (std::int64_t c = b.thread() * std::int64_t{lot}; c < a.cols; c += threads * lot) {
      float p[lot], q[lot];
      load_lot(x + c, a.cols - c, a.x.aligned, p), load_lot(y + c, a.cols - c, a.y.aligned, q);
      PLAIT_UNROLL
      for (int i = 0; i < lot; ++i) p[i] += q[i];
      store_lot(x + c, a.cols - c, a.x.aligned, p);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct add_residual_op<exec::device<P, Runtime>> {
  template <class T>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, matrix_view<T const> y) {
    exec.template launch<kernels::add_residual<T>>({.x = x.rows()}, {x, y, x.cols()});
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
