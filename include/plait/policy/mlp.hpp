// The dense SwiGLU feed-forward as a policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// down(silu(gate(x)) * up(x)), without biases (Shazeer, arXiv:2002.05202).
struct mlp {
  int d_ff = 0;
  friend constexpr bool operator==(mlp const&, mlp const&) = default;
};

template <class Visit>
constexpr void describe(mlp const& p, int d_model, Visit&& visit) {
  visit(tensor{.name = "gate_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "up_proj", .rows = p.d_ff, .cols = d_model});
  visit(tensor{.name = "down_proj", .rows = d_model, .cols = p.d_ff});
}

constexpr char const* checkpoint_name(mlp const&) { return "feed_forward"; }

template <class Visit>
constexpr void knobs(mlp const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
}

/// SiLU, counted as four operations, and the product with it.
constexpr std::int64_t extra_flops(mlp const& p, int, std::int64_t) { return 5 * std::int64_t{p.d_ff}; }

}  // namespace plait

#include <plait/core/epilogue.hpp>
