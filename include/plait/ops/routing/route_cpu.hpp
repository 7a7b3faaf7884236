// route on the CPU, with the exp of cpu/simd.hpp. Experts are chosen among the logits, so that
// rounding in the softmax cannot change the choice.
// Equation: exponentials of logit - maximum are added from expert 0 upwards
// Shapes: workspace: per thread n floats, rounded up to 16
// Cost: threads share tokens; one thread groups
// Test: tests/unit/ops/routing/route_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/routing/route.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// route for every precision of the CPU.
struct route_cpu {
  static void run(exec::host& exec, matrix_view<float const> logits, routing<float> const& plan,
                  router_weights weights);
};

template <precision P>
struct route_op<exec::cpu<P>> : route_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

PLAIT_OP void route_cpu::run(exec::host& exec, matrix_view<float const> logits,
                             routing<float> const& plan, router_weights weights) {
  using namespace simd;
  arena::frame const scratch(exec.workspace);
  std::int64_t const n = logits.cols(), stride = (n + 15) / 16 * 16;
  float* const memory = exec.workspace.template take<float>(exec.threads() * stride);
  exec.parallel(logits.rows(), exec.grain(logits.rows()), [&](std::int64_t t, int thread) {
    float* const p = memory + thread * stride;
    float const* const row = logits.row(t);
    float max_logit = row[0];
    float total = 0;
    float chosen = 0;
    for (std::int64_t e = 1; e < n; ++e) max_logit = std::max(max_logit, row[e]);
    for_each_packet(n, [&](std::int64_t e, std::int64_t count) {
      store(p + e, exp(sub(load(row + e, count), set(max_logit))), count);
    });
    for (std::int64_t e = 0; e < n; ++e) total += p[e];
    choose_top_k(row, n, plan.expert.cols(), plan.expert.row(t));
    for (std::int64_t j = 0; j < plan.expert.cols(); ++j) chosen += p[plan.expert(t, j)];
    if (weights == router_weights::renormalised) total = chosen;
    for (std::int64_t j = 0; j < plan.expert.cols(); ++j)
      plan.weight(t, j) = p[plan.expert(t, j)] / total;
  });
  exec.parallel(1, [&](std::int64_t, int) { group_by_expert(plan); });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
