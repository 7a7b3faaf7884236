// inner_norms on a device: one launch, a block per row and part.
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/norm/gpu/add_norm.hpp>
#include <plait/ops/norm/inner_norms.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct inner_norms_op<exec::device<P, Runtime>> {
  template <class T, class Memory, std::size_t Parts>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x,
                  std::array<device_vector<Memory> const*, Parts> const& weights, float eps) {
    static_assert(Parts <= kernels::add_norm<T>::max_parts);
    typename kernels::add_norm<T>::args args{{}, eps};
    std::int64_t first = 0;
    for (std::size_t p = 0; p < Parts; ++p) {
      auto const part = x.middle_cols(first, weights[p]->rows());
      args.parts[p] = {part, part, {}, weights[p]->device_view(), part.cols()};
      first += part.cols();
    }
    exec.template launch<kernels::add_norm<T>>({.x = x.rows(), .y = Parts}, args);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
