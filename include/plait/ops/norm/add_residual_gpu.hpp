// add_residual on a device: the elementwise kernel of gpu/elementwise.hpp.
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/elementwise.hpp>
#include <plait/ops/norm/add_residual.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct add_residual_op<exec::device<P, Runtime>> {
  template <class T>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, matrix_view<T const> y) {
    update_rows<kernels::update::add>(exec, y, x);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
