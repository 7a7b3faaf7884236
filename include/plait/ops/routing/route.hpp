// Softmax routing: the experts of each token, and their weights.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>
#include <plait/ops/routing/choose_top_k.hpp>
#include <plait/ops/routing/group_by_expert.hpp>
#include <plait/ops/routing/routing.hpp>
#include <plait/policy/moe.hpp>

#include <cmath>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct route_op {
  PLAIT_OP_MISSING(route);
};

/// Equation: p = softmax(logits[t]) over all n experts; the k largest are chosen, in descending
///   order of p, ties to the lowest index, NaN first (choose_top_k.hpp); their weights are p, or p
///   divided by their sum (`router_weights::renormalised`). No capacity, no dropped tokens
/// Shapes: logits [T, n]; the plan as in routing.hpp
/// Cost: an exp per expert and token; choosing at most n k comparisons per token; grouping T k + n
///   steps on one thread
/// Source: Lieber et al., arXiv:2403.19887; renormalised: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/ops/routing/route_test.cpp
template <class Exec>
void route(Exec& exec, matrix_view<typename Exec::output_type const> logits,
           routing<typename Exec::output_type> const& plan, router_weights weights) {
  route_op<Exec>::run(exec, logits, plan, weights);
}

template <>
struct route_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double const> logits,
                  routing<double> const& plan, router_weights weights) {
    arena::frame const scratch(exec.workspace);
    double* const p = exec.workspace.take<double>(logits.cols());
    exec.parallel(logits.rows(), [&](std::int64_t t, int) {
      double max_logit = logits(t, 0);
      double total = 0;
      double chosen = 0;
      for (std::int64_t e = 0; e < logits.cols(); ++e)
        max_logit = std::fmax(max_logit, logits(t, e));
      for (std::int64_t e = 0; e < logits.cols(); ++e)
        total += p[e] = std::exp(logits(t, e) - max_logit);
      choose_top_k(p, logits.cols(), plan.expert.cols(), plan.expert.row(t));
      for (std::int64_t j = 0; j < plan.expert.cols(); ++j) chosen += p[plan.expert(t, j)];
      if (weights == router_weights::renormalised) total = chosen;
      for (std::int64_t j = 0; j < plan.expert.cols(); ++j)
        plan.weight(t, j) = p[plan.expert(t, j)] / total;
    });
    exec.parallel(1, [&](std::int64_t, int) { group_by_expert(plan); });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
