// The dense SwiGLU feed-forward as a policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// down(silu(gate(x)) * up(x)), without biases (Shazeer, arXiv:2002.05202).
/// Equation: down(silu(gate x) * up x). In a file it is "feed_forward"
/// Shapes: gate_proj and up_proj [d_ff, d_model], down_proj [d_model, d_ff]; no biases
/// Errors: none here; see layers/mlp.hpp
/// Cost: 5 d_ff operations a token beyond the linear maps
/// Source: Shazeer, arXiv:2002.05202
/// Test: tests/unit/policy/policy_test.cpp
struct mlp {
  int d_ff = 0;
  friend constexpr bool operator==(mlp const&, mlp const&) = default;
};

/// The tensors, each once (policy/tensor.hpp).
template <class Visit>
constexpr void describe(mlp const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "gate_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "up_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "down_proj", .rows = d_model, .cols = p.d_ff});
}

/// What they are found under in a file.
constexpr char const* checkpoint_name(mlp const&) { return "feed_forward"; }

/// The hyperparameters, each once.
template <class Visit>
constexpr void hyperparameters(mlp const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
}

/// SiLU, counted as four operations, and the product with it.
constexpr std::int64_t extra_flops(mlp const& p, int, std::int64_t) {
  return 5 * std::int64_t{p.d_ff};
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
