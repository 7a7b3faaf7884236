// Causal grouped-query attention as a policy: hyperparameters, tensors and costs. The computation
// is in layers/attention.hpp and ops/attention/paged_attention.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// Position encoding of attention. Jamba has none: its Mamba layers encode the order of the tokens.
enum class positions : unsigned char { none, rotary };

/// Causal grouped-query attention.
/// Equation: query head j reads key-value head j / (num_heads / num_kv_heads); dim = head_dim, or
///   d_model / num_heads where head_dim is 0
/// Shapes: q_proj [num_heads dim, d_model], k_proj and v_proj [num_kv_heads dim, d_model], o_proj
///   [d_model, num_heads dim]; no biases. In a config.json of model type plait its name is
///   "self_attn", head_dim is dim, and positions is "rotary" or "none"
/// State: 2 num_kv_heads dim values per token (`kv_values`), and no state of fixed size
/// Errors: none; layers/attention.hpp checks the hyperparameters
/// Cost: num_heads context (4 dim + 4) operations per token beyond the linear maps: q k and p v at
///   two per multiply-add, and the softmax at four per key
/// Source: Ainslie et al., arXiv:2305.13245
/// Test: tests/unit/policy/policy_test.cpp
struct attention {
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;                                     ///< 0: d_model / num_heads
  plait::positions positions = plait::positions::none;  ///< rotary: the base is hybrid::rope_theta

  constexpr int dim(int d_model) const {
    return head_dim > 0 ? head_dim : num_heads > 0 ? d_model / num_heads : 0;
  }
  friend constexpr bool operator==(attention const&, attention const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(attention const& p, int d_model, Visit&& visit) {
  std::int64_t const q_rows = std::int64_t{p.num_heads} * p.dim(d_model);
  std::int64_t const kv_rows = std::int64_t{p.num_kv_heads} * p.dim(d_model);
  visit(tensor{.name = "q_proj", .rows = q_rows, .cols = d_model});
  visit(tensor{.name = "k_proj", .rows = kv_rows, .cols = d_model});
  visit(tensor{.name = "v_proj", .rows = kv_rows, .cols = d_model});
  visit(tensor{.name = "o_proj", .rows = d_model, .cols = q_rows});
}

/// Whether the policy needs hybrid::rope_theta.
constexpr bool rotates(attention const& p) { return p.positions == positions::rotary; }

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(attention const&) { return "self_attn"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
template <class Visit>
constexpr void hyperparameters(attention const& p, int d_model, Visit&& visit) {
  visit("num_heads", p.num_heads);
  visit("num_kv_heads", p.num_kv_heads);
  visit("head_dim", p.dim(d_model));
  visit("positions", p.positions == positions::rotary ? "rotary" : "none");
}

/// Values that a sequence keeps per token: keys and values of all key-value heads.
constexpr std::int64_t kv_values(attention const& p, int d_model) {
  return std::int64_t{2} * p.num_kv_heads * p.dim(d_model);
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(attention const& p, int d_model, std::int64_t context) {
  return std::int64_t{p.num_heads} * context * (4 * std::int64_t{p.dim(d_model)} + 4);
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
