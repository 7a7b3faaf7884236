// gather_rows on a device: one block per row (gpu/gather_rows.hpp).
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/gather_rows.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/rows/gather_rows.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct gather_rows_op<exec::device<P, Runtime>> {
  using T = typename exec::device<P, Runtime>::value_type;
  static void run(exec::device<P, Runtime>& exec, matrix_view<T const> x, std::int64_t const* rows,
                  matrix_view<T> y) {
    exec.template launch<kernels::gather_rows<T>>({.x = y.rows()},
                                                  {x, rows, y, y.cols(), y.cols()});
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
