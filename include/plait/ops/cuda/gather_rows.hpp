// gather_rows on a device. A block a row. With zeros behind a row's columns it makes rows that
// stand at multiples of 16 bytes of some that do not.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/cuda/vector.hpp>
#include <plait/ops/gather_rows.hpp>

namespace plait::inline PLAIT_ABI::kernels {

/// y[i] = x[rows[i]], or x[i] where rows is null; zeros from column `cols` on.
/// Test: tests/ops/cuda/pointwise_test.cpp
template <class T, class Index = std::int64_t>
struct gather_rows {
  struct args {
    rows_of<T const> x;
    Index const* rows;
    rows_of<T> y;
    std::int64_t cols, y_cols;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const i = b.x();
    T const* const from = a.x.row(a.rows != nullptr ? std::int64_t{a.rows[i]} : i);
    T* const to = a.y.row(i);
    for (std::int64_t c = b.thread() * std::int64_t{lot}; c < a.y_cols; c += threads * lot) {
      float v[lot];  // widened and rounded back: exact
      load_lot(from + c, a.cols - c, a.x.aligned, v);
      store_lot(to + c, a.y_cols - c, a.y.aligned, v);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct gather_rows_op<exec::device<P, Runtime>> {
  using T = typename exec::device<P, Runtime>::value_type;
  static void run(exec::device<P, Runtime>& exec, matrix_view<T const> x, std::int64_t const* rows, matrix_view<T> y) {
    exec.template launch<kernels::gather_rows<T>>({.x = y.rows()}, {x, rows, y, y.cols(), y.cols()});
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
