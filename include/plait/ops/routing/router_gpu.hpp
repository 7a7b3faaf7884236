// router on a device: one launch where tokens times experts are at most 128; otherwise linear, then
// route.
// Test: tests/unit/model/device_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/ops/linear/linear_gpu.hpp>
#include <plait/ops/routing/gpu/router_skinny.hpp>
#include <plait/ops/routing/route_gpu.hpp>
#include <plait/ops/routing/router.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct router_op<exec::device<P, Runtime>> {
  template <class T, class Memory>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T const> x,
                  device_matrix<dtype::f32, Memory> const& router, matrix_view<float> logits,
                  routing<float> const& plan, router_weights weights) {
    using kernel = kernels::router_skinny<T>;
    std::int64_t const tokens = x.rows(), n = router.rows();
    if (tokens * n <= kernel::max_products && n <= kernels::route_single_block::range) {
      matrix_view<float const> const chosen_from = logits;
      exec.template launch<kernel>(
          {.x = tokens > 0 ? 1 : 0},
          {x, router.device_view(), logits, route_arguments(chosen_from, plan, weights)});
      return;
    }
    linear(exec, x, into(logits, router));
    route(exec, matrix_view<float const>(logits), plan, weights);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
