// Which experts a token visits, and with what weight.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>
#include <plait/policy/moe.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The plan of one MoE call, made by route and read by experts: choices by falling weight, and the
/// order in which tokens, grouped by expert, pass through. Layers hand it on without looking
/// inside.
template <class T>
struct routing {
  matrix_view<std::int32_t> expert;  ///< [T, K], the chosen experts by falling probability
  matrix_view<T> weight;             ///< [T, K], their weights; T is Exec::output_type
  matrix_view<std::int32_t> place;  ///< [T, K], the row of choice k of token t in the grouped order
  std::int32_t* token = nullptr;    ///< [T * K], the token in each grouped row
  std::int32_t* first = nullptr;    ///< [n + 1], the first grouped row of each expert
  std::int64_t num_experts = 0;
};

/// Room for a plan of `tokens` tokens in the workspace. plait::error where their choices cannot be
/// numbered in 32 bits: said while a call is measured, before anything is computed.
template <class Exec>
routing<typename Exec::output_type> make_routing(Exec& exec, std::int64_t tokens,
                                                 std::int64_t num_experts, std::int64_t top_k) {
  if (tokens * top_k > std::numeric_limits<std::int32_t>::max())
    throw error(std::to_string(tokens) + " tokens in one call with " + std::to_string(top_k) +
                " experts each: more choices than 2^31 - 1, so use fewer tokens a call");
  return {exec.template matrix<std::int32_t>(tokens, top_k),
          exec.template matrix<typename Exec::output_type>(tokens, top_k),
          exec.template matrix<std::int32_t>(tokens, top_k),
          exec.workspace.template take<std::int32_t>(tokens * top_k),
          exec.workspace.template take<std::int32_t>(num_experts + 1),
          num_experts};
}

template <class Exec>
struct route_op {
  PLAIT_OP_MISSING(route);
};

///
/// A router of your own is a function of a token's logits:
///
/// ```cpp body
/// oracle.workspace.reserve(4096);
/// {
///   plait::arena::frame const until_here(oracle.workspace);
///   auto const plan = plait::ops::make_routing(oracle, 2, 4, 2);  // 2 tokens, 2 of 4 experts each
///   std::vector<double> const scores{0, 3, 1, 2, 5, 4, 4, 0};
///   plait::ops::route_with(oracle, plait::matrix_view<double const>(scores.data(), 2, 4), plan,
///                          [](double const* row, std::int64_t n, std::int64_t k,
///                             std::int32_t* expert, double* share) {
///                            plait::ops::choose_top_k(row, n, k, expert);
///                            std::fill_n(share, k, 1.0 / static_cast<double>(k));
///                          });
///   if (plan.expert(0, 0) != 1 || plan.expert(1, 1) != 1)
///     throw plait::error("the largest score comes first, ties to the lowest index");
/// }
/// ```
/// Equation: p = softmax(logits[t]) over all n experts; the k largest are chosen, ties to the
///   lowest index, by falling p, NaN first; their weights are p, or p divided by their sum
///   (`router_weights::renormalised`). No capacity, no dropped tokens
/// Shapes: logits [T, n]; expert, weight and place [T, k]; token [T k], first [n + 1]. The choices
///   of expert e are the grouped rows [first[e], first[e + 1]), tokens in order; place[t, j] is the
///   row of choice j of token t
/// Errors: none else; `choose` of `route_with` must not throw
///   - `… tokens in one call with … experts each: more choices than 2^31 - 1, so use fewer
///   tokens a
///     call`: from `make_routing`, while a call is measured
/// Cost: an exp an expert and token; choosing at most n k comparisons a token; grouping T k + n
///   steps on one thread
/// Source: Lieber et al., arXiv:2403.19887; renormalised: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/ops/routing/route_test.cpp
template <class Exec>
void route(Exec& exec, matrix_view<typename Exec::output_type const> logits,
           routing<typename Exec::output_type> const& plan, router_weights weights) {
  route_op<Exec>::run(exec, logits, plan, weights);
}

/// The K largest of n values, the first of equals, by falling value. NaN counts as the largest, so
/// that it is chosen and seen.
template <class T>
void choose_top_k(T const* values, std::int64_t n, std::int64_t k, std::int32_t* chosen) {
  auto const before = [&](std::int32_t a, std::int32_t b) {  // is a strictly ahead of b
    if (values[a] != values[a]) return values[b] == values[b];
    return values[a] > values[b];
  };
  std::int64_t kept = 0;
  for (std::int32_t e = 0; e < n; ++e) {
    std::int64_t at = kept;
    while (at > 0 && before(e, chosen[at - 1])) --at;
    if (at == k) continue;
    if (kept < k) ++kept;
    for (std::int64_t i = kept - 1; i > at; --i) chosen[i] = chosen[i - 1];
    chosen[at] = e;
  }
}

/// Counting sort of all choices by expert, tokens in order within one: fills first, place and token
/// from expert.
template <class T>
void group_by_expert(routing<T> const& plan) {
  std::int64_t const tokens = plan.expert.rows(), k = plan.expert.cols();
  for (std::int64_t e = 0; e <= plan.num_experts; ++e) plan.first[e] = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < k; ++j) ++plan.first[plan.expert(t, j) + 1];
  for (std::int64_t e = 0; e < plan.num_experts; ++e) plan.first[e + 1] += plan.first[e];
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < k; ++j) {
      std::int32_t const row = plan.first[plan.expert(t, j)]++;
      plan.place(t, j) = row;
      plan.token[row] = static_cast<std::int32_t>(t);
    }
  for (std::int64_t e = plan.num_experts; e > 0; --e) plan.first[e] = plan.first[e - 1];
  plan.first[0] = 0;
}

/// route with a rule of your own: choose(logits of a token, n, k, expert, weight) writes its k
/// experts, by falling weight, and their weights, each expert in [0, n) and at most once. It runs
/// on several threads at once and must not throw.
template <class Exec, class Choose>
void route_with(Exec& exec, matrix_view<typename Exec::output_type const> logits,
                routing<typename Exec::output_type> const& plan, Choose const& choose) {
  exec.parallel(logits.rows(), exec.grain(logits.rows()), [&](std::int64_t t, int) {
    choose(logits.row(t), logits.cols(), plan.expert.cols(), plan.expert.row(t),
           plan.weight.row(t));
  });
  exec.parallel(1, [&](std::int64_t, int) { group_by_expert(plan); });
}

template <>
struct route_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double const> logits,
                  routing<double> const& plan, router_weights weights) {
    arena::frame const scratch(exec.workspace);
    double* const p = exec.workspace.take<double>(logits.cols());
    exec.parallel(logits.rows(), [&](std::int64_t t, int) {
      double most = logits(t, 0), total = 0, chosen = 0;
      for (std::int64_t e = 0; e < logits.cols(); ++e) most = std::fmax(most, logits(t, e));
      for (std::int64_t e = 0; e < logits.cols(); ++e)
        total += p[e] = std::exp(logits(t, e) - most);
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
