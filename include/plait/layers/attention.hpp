// The layer of causal grouped-query attention.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/attention/paged_attention.hpp>
#include <plait/ops/attention/rope.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/rule.hpp>

PLAIT_NAMESPACE_BEGIN

/// Causal grouped-query attention over the pages of each sequence.
/// Equation: q = q_proj x, k = k_proj x, v = v_proj x; q, k = rope(q, k) where positions are rotary
///   (ops/attention/rope.hpp); y = o_proj softmax(q k^T / sqrt(dim)) v over the tokens up to each
///   row (ops/attention/paged_attention.hpp)
/// Shapes: dim = P.dim(D); q [T, num_heads dim], k and v [T, num_kv_heads dim]; workspace q, k and
///   v
/// State: keys (rotated, where positions are rotary) and values, 2 num_kv_heads dim values per
///   token
/// Cost: 4 T D dim (num_heads + num_kv_heads) operations in the projections, and those of
///   ops/attention/paged_attention.hpp
/// Source: Ainslie et al., arXiv:2305.13245
/// Test: tests/unit/layers/layer_test.cpp, tests/unit/layers/golden_test.cpp
template <int D, attention P>
struct attention_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  PLAIT_RULE(num_heads, P.num_heads > 0, "plait: attention needs num_heads");
  PLAIT_RULE(num_kv_heads, P.num_kv_heads > 0, "plait: attention needs num_kv_heads");
  PLAIT_RULE(kv_heads_divide, P.num_kv_heads <= 0 || P.num_heads % P.num_kv_heads == 0,
             "plait: num_kv_heads must divide num_heads");
  PLAIT_RULE(heads_divide, P.head_dim > 0 || P.num_heads <= 0 || D % P.num_heads == 0,
             "plait: num_heads must divide d_model, unless head_dim is given");
  PLAIT_RULE(head_dim, P.head_dim >= 0,
             "plait: head_dim must not be negative; 0 means d_model / num_heads");
  PLAIT_RULE(rotary_pairs, P.positions == positions::none || P.dim(D) % 2 == 0,
             "plait: rotary positions need an even head_dim");

  static constexpr continuation continues = continuation::bitwise;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, [[maybe_unused]] layer_settings const& s,
                      sequences<T> const& seqs, matrix_view<std::type_identity_t<T> const> x,
                      matrix_view<std::type_identity_t<T>> y, Observer&&) {
    constexpr std::int64_t dim = P.dim(D);
    arena::frame const scratch(exec.workspace);
    auto const q = exec.template matrix<T>(x.rows(), P.num_heads * dim);
    auto const k = exec.template matrix<T>(x.rows(), P.num_kv_heads * dim);
    auto const v = exec.template matrix<T>(x.rows(), P.num_kv_heads * dim);
    ops::linear(exec, x,
                std::array{ops::into(q, w.template get<"q_proj">()),
                           ops::into(k, w.template get<"k_proj">()),
                           ops::into(v, w.template get<"v_proj">())});
    if constexpr (P.positions == positions::rotary)
      ops::rope(exec, seqs, dim, s.rope_theta, std::array{q, k});
    ops::paged_attention(exec, seqs, {.heads = P.num_heads, .kv_heads = P.num_kv_heads, .dim = dim},
                         q, k, v, q);
    ops::linear(exec, q, ops::into(y, w.template get<"o_proj">()));
  }
};

/// Binds `attention` to its layer.
template <>
struct layer_of<attention> {
  template <int D, attention P>
  using bind = attention_layer<D, P>;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
