// Causal grouped-query attention as a policy: its hyperparameters, its tensors, its costs. The
// computation is
// in layers/attention.hpp and ops/attention/paged_attention.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// How attention learns of order. Jamba's has no positions of any kind: its Mamba layers carry
/// them.
enum class positions : unsigned char { none, rotary };

/// Causal grouped-query attention (Ainslie et al., arXiv:2305.13245): query head j reads key-value
/// head j / (num_heads / num_kv_heads).
/// Equation: dim = head_dim, or d_model / num_heads where head_dim is 0; query head j reads
///   key-value head j / (num_heads / num_kv_heads). In a file it is "self_attn", with dim for
///   head_dim and positions as "rotary" or "none"
/// Shapes: q_proj [num_heads dim, d_model], k_proj and v_proj [num_kv_heads dim, d_model], o_proj
///   [d_model, num_heads dim]; no biases. A sequence keeps 2 num_kv_heads dim values for every
///   token (`kv_values`); nothing of fixed size
/// Errors: none here; the hyperparameters are judged where a layer is made of them, in
/// layers/attention.hpp
/// Cost: num_heads context (4 dim + 4) operations a token beyond the linear maps: q k and p v, two
///   a multiply-add, and four a key for the softmax
/// Source: Ainslie et al., arXiv:2305.13245
/// Test: tests/unit/policy/policy_test.cpp
struct attention {
  int num_heads = 0, num_kv_heads = 0;
  int head_dim = 0;                                     ///< 0: d_model / num_heads
  plait::positions positions = plait::positions::none;  ///< rotary: the base is hybrid::rope_theta

  constexpr int dim(int d_model) const {
    return head_dim > 0 ? head_dim : num_heads > 0 ? d_model / num_heads : 0;
  }
  friend constexpr bool operator==(attention const&, attention const&) = default;
};

/// The tensors, each once (policy/tensor.hpp).
template <class Visit>
constexpr void describe(attention const& p, int d_model, Visit&& visit) {
  std::int64_t const q = std::int64_t{p.num_heads} * p.dim(d_model),
                     kv = std::int64_t{p.num_kv_heads} * p.dim(d_model);
  visit(tensor{.name = "q_proj", .rows = q, .cols = d_model});
  visit(tensor{.name = "k_proj", .rows = kv, .cols = d_model});
  visit(tensor{.name = "v_proj", .rows = kv, .cols = d_model});
  visit(tensor{.name = "o_proj", .rows = d_model, .cols = q});
}

/// Whether the policy reads hybrid::rope_theta, which then has to be given.
constexpr bool rotates(attention const& p) { return p.positions == positions::rotary; }

/// What they are found under in a file.
constexpr char const* checkpoint_name(attention const&) { return "self_attn"; }

/// The hyperparameters, each once.
template <class Visit>
constexpr void hyperparameters(attention const& p, int d_model, Visit&& visit) {
  visit("num_heads", p.num_heads);
  visit("num_kv_heads", p.num_kv_heads);
  visit("head_dim", p.dim(d_model));
  visit("positions", p.positions == positions::rotary ? "rotary" : "none");
}

/// A key and a value of `dim` for each of their heads, of every token.
constexpr std::int64_t kv_values(attention const& p, int d_model) {
  return std::int64_t{2} * p.num_kv_heads * p.dim(d_model);
}

/// q k^T and p v: two multiply-adds a head dimension and key, and four operations a key for the
/// softmax.
constexpr std::int64_t extra_flops(attention const& p, int d_model, std::int64_t context) {
  return std::int64_t{p.num_heads} * context * (4 * std::int64_t{p.dim(d_model)} + 4);
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
