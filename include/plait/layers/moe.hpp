// The layer of the mixture of experts.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/routing/experts.hpp>
#include <plait/ops/routing/router.hpp>
#include <plait/policy/moe.hpp>
#include <plait/policy/rule.hpp>

PLAIT_NAMESPACE_BEGIN

/// A mixture of top_k of num_experts SwiGLU experts.
/// Equation: p = softmax(router x); y = sum of w_e mlp_e(x) over the top_k largest p; w_e = p_e, or
///   p_e divided by the sum of the chosen p (`renormalised`) (ops/routing/route.hpp,
///   ops/routing/experts.hpp)
/// Shapes: an observer sees `"router_logits"` [T, num_experts], `"experts"` [T, top_k] in
///   descending order of weight, and `"expert_weights"` [T, top_k]
/// Cost: 2 T D num_experts + 6 T top_k D d_ff operations; 3 D d_ff weights per expert that has
///   tokens
/// Source: Shazeer et al., arXiv:1701.06538; Lieber et al., arXiv:2403.19887
/// Test: tests/unit/layers/layer_test.cpp, tests/unit/layers/golden_test.cpp
template <int D, moe P>
struct moe_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  PLAIT_RULE(d_ff, P.d_ff > 0, "plait: moe needs d_ff");
  PLAIT_RULE(num_experts, P.num_experts > 1,
             "plait: moe needs num_experts, more than one; a single expert is an mlp without a "
             "router, so put none in the slot");
  PLAIT_RULE(top_k, P.top_k > 0, "plait: moe needs top_k, the experts per token");
  PLAIT_RULE(top_k_at_most_n, P.top_k <= P.num_experts,
             "plait: top_k, the K experts per token, cannot exceed num_experts");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&,
                      matrix_view<std::type_identity_t<T> const> x,
                      matrix_view<std::type_identity_t<T>> y, Observer&& see) {
    using L = typename Exec::output_type;
    arena::frame const scratch(exec.workspace);
    auto const logits = exec.template matrix<L>(x.rows(), P.num_experts);
    auto const plan = ops::make_routing(exec, x.rows(), P.num_experts, P.top_k);
    ops::router(exec, x, w.template get<"router">(), logits, plan, P.weights);
    see("router_logits", matrix_view<L const>(logits));
    see("experts", matrix_view<std::int32_t const>(plan.expert));
    see("expert_weights", matrix_view<L const>(plan.weight));
    ops::experts(exec, x, plan, w.template get<"gate_proj">(), w.template get<"up_proj">(),
                 w.template get<"down_proj">(), y);
  }
};

/// Binds `moe` to its layer.
template <>
struct layer_of<moe> {
  template <int D, moe P>
  using bind = moe_layer<D, P>;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
