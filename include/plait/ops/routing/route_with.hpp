// Routing by a function of the caller.
// Test: tests/unit/ops/routing/route_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>
#include <plait/ops/routing/group_by_expert.hpp>
#include <plait/ops/routing/routing.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// As route, with a function of the caller: choose(logits of a token, n, k, expert, weight) writes
/// the k experts of the token, in descending order of weight, and their weights. Each expert is in
/// [0, n) and occurs at most once. `choose` runs on several threads at once and must not throw.
///
/// ```cpp body
/// plait::exec::reference oracle;
/// oracle.workspace.reserve(4096);
/// {
///   plait::arena::frame const scratch(oracle.workspace);
///   auto const plan = plait::ops::make_routing(oracle, 2, 4, 2);  // 2 tokens, 2 of 4 experts each
///   std::vector<double> const scores{0, 3, 1, 2, 5, 4, 4, 0};
///   plait::ops::route_with(oracle, plait::matrix_view<double const>(scores.data(), 2, 4), plan,
///                          [](double const* row, std::int64_t n, std::int64_t k,
///                             std::int32_t* expert, double* weight) {
///                            plait::ops::choose_top_k(row, n, k, expert);
///                            std::fill_n(weight, k, 1.0 / static_cast<double>(k));
///                          });
///   if (plan.expert(0, 0) != 1 || plan.expert(1, 1) != 1)
///     throw plait::error("the largest score comes first, ties to the lowest index");
/// }
/// ```
template <class Exec, class Choose>
void route_with(Exec& exec, matrix_view<typename Exec::output_type const> logits,
                routing<typename Exec::output_type> const& plan, Choose const& choose) {
  exec.parallel(logits.rows(), exec.grain(logits.rows()), [&](std::int64_t t, int) {
    choose(logits.row(t), logits.cols(), plan.expert.cols(), plan.expert.row(t),
           plan.weight.row(t));
  });
  exec.parallel(1, [&](std::int64_t, int) { group_by_expert(plan); });
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
