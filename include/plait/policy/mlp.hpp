// The dense SwiGLU feed-forward as a policy: hyperparameters, tensors and costs. The computation is
// in layers/mlp.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// A dense feed-forward with SwiGLU.
/// Equation: y = down_proj(silu(gate_proj x) * up_proj x)
/// Shapes: gate_proj and up_proj [d_ff, d_model], down_proj [d_model, d_ff]; no biases. In a
///   config.json of model type plait its name is "feed_forward"
/// Errors: none; layers/mlp.hpp checks the hyperparameters
/// Cost: 5 d_ff operations per token beyond the linear maps: SiLU counts as four, the product as
///   one
/// Source: Shazeer, arXiv:2002.05202
/// Test: tests/unit/policy/policy_test.cpp
struct mlp {
  int d_ff = 0;
  friend constexpr bool operator==(mlp const&, mlp const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(mlp const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "gate_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "up_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "down_proj", .rows = d_model, .cols = p.d_ff});
}

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(mlp const&) { return "feed_forward"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
template <class Visit>
constexpr void hyperparameters(mlp const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(mlp const& p, int, std::int64_t) {
  return 5 * std::int64_t{p.d_ff};
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
