// The mixture of experts as a policy: hyperparameters, tensors and costs. The computation is in
// layers/moe.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// The weight of an expert's output: its softmax probability (Jamba), or that divided by the sum
/// over the chosen experts (Mixtral).
enum class router_weights : unsigned char { as_they_are, renormalised };

/// A mixture of experts: top_k of num_experts SwiGLU experts per token, without capacity and
/// without dropped tokens.
/// Equation: p = softmax(router x) over all experts; y = sum of w_e mlp_e(x) over the top_k largest
///   p; w_e = p_e (`as_they_are`), or p_e divided by the sum of the chosen p (`renormalised`)
/// Shapes: router [num_experts, d_model]; gate_proj and up_proj [num_experts][d_ff, d_model],
///   down_proj [num_experts][d_model, d_ff]. One token uses d_model num_experts + 3 d_model d_ff
///   top_k parameters. In a config.json of model type plait its name is "feed_forward"
/// Errors: none; layers/moe.hpp checks the hyperparameters
/// Cost: 5 num_experts + top_k (5 d_ff + 2 d_model) operations per token beyond the linear maps:
///   softmax, activation (policy/mlp.hpp), weighted sum
/// Source: Shazeer et al., arXiv:1701.06538; `as_they_are`: Lieber et al., arXiv:2403.19887;
///   `renormalised`: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/policy/policy_test.cpp
struct moe {
  int d_ff = 0;
  int num_experts = 0;
  int top_k = 0;
  router_weights weights = router_weights::as_they_are;
  friend constexpr bool operator==(moe const&, moe const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(moe const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "router", .role = role::router, .rows = p.num_experts, .cols = d_model});
  visit(tensor{.name = "gate_proj",
               .role = role::expert,
               .rows = p.d_ff,
               .cols = d_model,
               .copies = p.num_experts});
  visit(tensor{.name = "up_proj",
               .role = role::expert,
               .rows = p.d_ff,
               .cols = d_model,
               .copies = p.num_experts});
  visit(tensor{.name = "down_proj",
               .role = role::expert,
               .rows = d_model,
               .cols = p.d_ff,
               .copies = p.num_experts});
}

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(moe const&) { return "feed_forward"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
template <class Visit>
constexpr void hyperparameters(moe const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
  visit("num_experts", p.num_experts);
  visit("top_k", p.top_k);
  visit("weights", p.weights == router_weights::renormalised ? "renormalised" : "as_they_are");
}

/// Parameters that one token uses: the router, and top_k experts.
constexpr std::int64_t active_parameters(moe const& p, int d_model) {
  return std::int64_t{d_model} * p.num_experts + std::int64_t{3} * d_model * p.d_ff * p.top_k;
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(moe const& p, int d_model, std::int64_t) {
  return 5 * std::int64_t{p.num_experts} +
         p.top_k * (5 * std::int64_t{p.d_ff} + 2 * std::int64_t{d_model});
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
