// The mixture of experts as a policy: top_k of num_experts SwiGLU experts a token.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// What weights an expert's output: its softmax probability as it is (Jamba), or divided by the sum
/// over the chosen (Mixtral).
enum class router_weights : unsigned char { as_they_are, renormalised };

/// top_k of num_experts SwiGLU experts a token (Shazeer et al., arXiv:1701.06538); softmax over all
/// experts, then top-k; no capacity, no dropped tokens.
/// Equation: the softmax is over all experts; the weights of the chosen are its values as they are,
///   or divided by their sum. In a file it is "feed_forward", with weights as "as_they_are" or
///   "renormalised"
/// Shapes: router [num_experts, d_model]; gate_proj and up_proj [num_experts][d_ff, d_model],
///   down_proj [num_experts][d_model, d_ff]. Active are d_model num_experts + 3 d_model d_ff top_k
///   parameters
/// Errors: none here; see layers/moe.hpp
/// Cost: 5 num_experts + top_k (5 d_ff + 2 d_model) operations a token beyond the linear maps
/// Source: Shazeer et al., arXiv:1701.06538; as they are: Lieber et al., arXiv:2403.19887;
///   renormalised: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/policy/policy_test.cpp
struct moe {
  int d_ff = 0, num_experts = 0, top_k = 0;
  router_weights weights = router_weights::as_they_are;
  friend constexpr bool operator==(moe const&, moe const&) = default;
};

/// The tensors, each once (policy/tensor.hpp).
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

/// What they are found under in a file.
constexpr char const* checkpoint_name(moe const&) { return "feed_forward"; }

/// The hyperparameters, each once.
template <class Visit>
constexpr void hyperparameters(moe const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
  visit("num_experts", p.num_experts);
  visit("top_k", p.top_k);
  visit("weights", p.weights == router_weights::renormalised ? "renormalised" : "as_they_are");
}

/// The router, and top_k experts.
constexpr std::int64_t active_parameters(moe const& p, int d_model) {
  return std::int64_t{d_model} * p.num_experts + std::int64_t{3} * d_model * p.d_ff * p.top_k;
}

/// The router's softmax; of each chosen expert the activation (policy/mlp.hpp) and its weighted
/// place in the sum.
constexpr std::int64_t extra_flops(moe const& p, int d_model, std::int64_t) {
  return 5 * std::int64_t{p.num_experts} +
         p.top_k * (5 * std::int64_t{p.d_ff} + 2 * std::int64_t{d_model});
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
