// gate: the router's product and its choices.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/linear.hpp>
#include <plait/ops/route.hpp>

namespace plait::inline PLAIT_ABI::ops {

/// The two ops one after the other; a device does both at once for few tokens.
template <class Exec>
struct gate_op {
  template <class T, class Logit, class Matrix>
  static void run(Exec& exec, matrix_view<T const> x, Matrix const& router, matrix_view<Logit> logits, routing<Logit> const& plan,
                  gate_weights weights) {
    linear(exec, x, into(logits, router));
    route(exec, matrix_view<Logit const>(logits), plan, weights);
  }
};

/// logits = x router^T, then route(logits) (ops/route.hpp). x [T, d], router [n, d], logits [T, n], which hold the product afterwards.
/// Cost: those of linear and route.
template <class Exec, class Matrix>
void gate(Exec& exec, matrix_view<typename Exec::value_type const> x, Matrix const& router, matrix_view<typename Exec::output_type> logits,
          routing<typename Exec::output_type> const& plan, gate_weights weights) {
  gate_op<Exec>::run(exec, x, router, logits, plan, weights);
}

}  // namespace plait::inline PLAIT_ABI::ops

#include <plait/core/epilogue.hpp>
