// embed on a device: a thread copies eight values of a row; from an int8 table it gathers them from
// their tiles.
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/rows/embed.hpp>
#include <plait/ops/rows/gpu/embed.hpp>

#include <cstdint>
#include <span>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct embed_op<exec::device<P, Runtime>> {
  template <dtype Stored, class Memory, class T>
  static void run(exec::device<P, Runtime>& exec, std::span<std::int32_t const> ids,
                  device_matrix<Stored, Memory> const& table, matrix_view<T> y) {
    using kernel = kernels::embed<Stored, T>;
    std::int64_t const pieces = (y.cols() + kernel::threads * kernels::vector_elements - 1) /
                                (kernel::threads * kernels::vector_elements);
    exec.template launch<kernel>({.x = y.rows(), .y = pieces},
                                 {ids.data(), table.device_view(), y, y.rows()});
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
