// add_norm on a device: one block per row.
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/norm/add_norm.hpp>
#include <plait/ops/norm/gpu/add_norm.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct add_norm_op<exec::device<P, Runtime>> {
  template <class T, class Memory>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, matrix_view<T const> y,
                  device_vector<Memory> const& weight, float eps, matrix_view<T> out) {
    typename kernels::add_norm<T>::args args{{}, eps};
    args.parts[0] = {x, out, y.empty() ? kernels::rows_of<T const>{} : kernels::rows_of<T const>(y),
                     weight.device_view(), x.cols()};
    exec.template launch<kernels::add_norm<T>>({.x = x.rows()}, args);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
