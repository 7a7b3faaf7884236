// add_residual on a device. update_rows (update_rows.hpp).
// Test: tests/ops/cuda/pointwise_test.cpp
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/add_residual.hpp>
#include <plait/ops/cuda/update_rows.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct add_residual_op<exec::device<P, Runtime>> {
  template <class T>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, matrix_view<T const> y) {
    update_rows<kernels::update::add>(exec, y, x);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
