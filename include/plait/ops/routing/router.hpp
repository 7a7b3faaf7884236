// The router of a mixture of experts: its product and its choices.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/linear/linear.hpp>
#include <plait/ops/routing/route.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The default calls linear and route; a device has one launch for few tokens.
template <class Exec>
struct router_op {
  template <class T, class Logit, class Matrix>
  static void run(Exec& exec, matrix_view<T const> x, Matrix const& router,
                  matrix_view<Logit> logits, routing<Logit> const& plan, router_weights weights) {
    linear(exec, x, into(logits, router));
    route(exec, matrix_view<Logit const>(logits), plan, weights);
  }
};

/// Equation: logits = x router^T, then route (route.hpp)
/// Shapes: x [T, d], router [n, d], logits [T, n] of `Exec::output_type`, which hold the product
///   afterwards
/// Cost: that of linear and route
/// Test: tests/unit/layers/golden_test.cpp, tests/unit/model/device_test.cpp
template <class Exec, class Matrix>
void router(Exec& exec, matrix_view<typename Exec::value_type const> x, Matrix const& router,
            matrix_view<typename Exec::output_type> logits,
            routing<typename Exec::output_type> const& plan, router_weights weights) {
  router_op<Exec>::run(exec, x, router, logits, plan, weights);
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
