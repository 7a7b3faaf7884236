// What a configuration costs before anything is allocated: parameters, bytes, operations, at
// compile time or at run time, for any architecture.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/hybrid.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

namespace plait {

/// Parameters are numbers of values; the embedding counts once if tied, else twice.
struct counts {
  int layers = 0, attention_layers = 0, recurrent_layers = 0, moe_layers = 0;
  int expert_evaluations = 0;  ///< experts one token visits, over all layers
  std::int64_t total_parameters = 0;
  std::int64_t active_parameters = 0;  ///< total without the experts not selected
  friend constexpr bool operator==(counts const&, counts const&) = default;
};

/// Counts layers and parameters of any architecture. A layer that keeps something for every token
/// is an attention layer, one with a state of fixed size a recurrent layer.
///
/// ```cpp
/// static_assert(plait::count(plait::configs::jamba_v0_1).active_parameters == 12'110'311'296);
/// // 256 Ki tokens in 16 bits: 4 GiB
/// static_assert(plait::kv_cache_bytes(plait::configs::jamba_v0_1, 262'144, 2) ==
///               std::int64_t{4} << 30);
/// static_assert(plait::recurrent_state_bytes(plait::configs::jamba_v0_1) == 17'432'576);
/// ```
/// Equation: active_parameters = total_parameters without the experts a token does not visit; the
///   embedding counts once if tied, else twice. flops of a token: 2 an active parameter of a linear
///   map, plus `extra_flops` of each policy; norms and residuals are left out. Experts that T
///   tokens reach together: n (1 - (1 - K/n)^T), each choosing K of n at random
/// Shapes: everything named bytes is in bytes, `context` and `tokens` in tokens.
///   `token_cost::bytes` is what has to be read from memory for a token: weights, keys and values,
///   recurrent state (f32, whatever `as` says); `prefill_cost` gives the mean over the prompt's
///   tokens
/// Errors: none; `max_context` is 0 where weights and state alone do not fit and INT64_MAX where
///   nothing is kept for every token, `prefill_cost` of fewer than one token is zero
/// Cost: a few operations a layer
/// Test: tests/unit/policy/policy_test.cpp
template <class Architecture>
constexpr counts count(Architecture const& c) {
  int const d = c.d_model;
  counts n{.layers = c.num_layers()};
  std::int64_t const norm = policies::parameters(c.norm, d);
  std::int64_t const shared =
      c.vocab_size == no_vocabulary
          ? 0
          : (c.tie_embeddings ? 1 : 2) * std::int64_t{c.vocab_size} * d + norm;
  n.total_parameters = n.active_parameters = shared;
  for (int i = 0; i < n.layers; ++i)
    visit_layer(c, i, [&](auto const& mixer, auto const& ffn) {
      auto const sublayer = [&]<class Policy>(Policy const& p) {
        if constexpr (!std::is_same_v<Policy, none>) {
          n.total_parameters += norm + policies::parameters(p, d);
          n.active_parameters += norm + policies::active(p, d);
        }
      };
      sublayer(mixer);
      sublayer(ffn);
      n.attention_layers += policies::kv(mixer, d) > 0;
      n.recurrent_layers += policies::state(mixer, d) > 0;
      n.moe_layers += policies::experts_chosen(ffn) > 0;
      n.expert_evaluations += policies::experts_chosen(ffn);
    });
  return n;
}

/// Bytes of keys and values of `sequences` sequences of `tokens` tokens each.
template <class Architecture>
constexpr std::int64_t kv_cache_bytes(Architecture const& c, std::int64_t tokens,
                                      int bytes_per_value, std::int64_t sequences = 1) {
  std::int64_t values = 0;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i,
                [&](auto const& mixer, auto const&) { values += policies::kv(mixer, c.d_model); });
  return values * tokens * bytes_per_value * sequences;
}

/// Bytes of f32 state that `sequences` sequences carry between calls, whatever their length:
/// convolution windows of d_conv - 1 columns and recurrent states.
template <class Architecture>
constexpr std::int64_t recurrent_state_bytes(Architecture const& c, std::int64_t sequences = 1) {
  std::int64_t values = 0;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(
        c, i, [&](auto const& mixer, auto const&) { values += policies::state(mixer, c.d_model); });
  return values * std::int64_t{sizeof(float)} * sequences;
}

namespace policies {

/// Bytes of a policy's tensors; with `experts` given, of that many of each expert tensor's copies.
template <class Policy>
constexpr std::int64_t bytes(Policy const& p, int d_model, precision const& as,
                             double experts = -1) {
  double n = 0;
  describe(p, d_model, [&](tensor const& t) {
    dtype const kept = t.role == role::matrix   ? as.weights
                       : t.role == role::expert ? as.experts
                                                : dtype::f32;
    double const copies = t.role == role::expert && experts >= 0 ? experts : double(t.copies);
    n += double(matrix_bytes(kept, t.rows, t.cols)) * copies;
  });
  return std::int64_t(n);
}

/// Experts that `tokens` tokens reach together when each chooses top_k of num_experts at random.
template <class Policy>
constexpr double experts_reached(Policy const& p, std::int64_t tokens) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                }) {
    if (p.num_experts <= 0) return 0;
    double missed = 1, base = 1 - double(p.top_k) / p.num_experts;
    for (std::int64_t e = tokens; e > 0; e /= 2, base *= base)
      if (e % 2 != 0) missed *= base;
    return p.num_experts * (1 - missed);
  } else {
    return 0;
  }
}

/// Weights that one call over `tokens` tokens reads, in bytes; tokens = 0: all there are.
template <class Architecture>
constexpr std::int64_t weight_traffic(Architecture const& c, precision const& as,
                                      std::int64_t tokens) {
  int const d = c.d_model;
  std::int64_t const norm = bytes(c.norm, d, as);
  std::int64_t n = 0;
  if (c.vocab_size != no_vocabulary) {
    std::int64_t const table = matrix_bytes(as.weights, c.vocab_size, d);
    n = norm + table +
        (tokens > 0         ? tokens * matrix_bytes(as.weights, 1, d)
         : c.tie_embeddings ? 0
                            : table);
  }
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&](auto const& mixer, auto const& ffn) {
      auto const sublayer = [&]<class Policy>(Policy const& p) {
        if constexpr (!std::is_same_v<Policy, none>)
          n += norm + bytes(p, d, as, tokens > 0 ? experts_reached(p, tokens) : -1.0);
      };
      sublayer(mixer);
      sublayer(ffn);
    });
  return n;
}

}  // namespace policies

/// Bytes of all weights in the given precision.
template <class Architecture>
constexpr std::int64_t weight_bytes(Architecture const& c, precision const& as) {
  return policies::weight_traffic(c, as, 0);
}

/// The longest context of one sequence that fits into `bytes` beside the weights and the recurrent
/// state; 0 if these alone do not fit, and the largest value there is if no layer keeps anything
/// for every token.
template <class Architecture>
constexpr std::int64_t max_context(Architecture const& c, precision const& as, std::int64_t bytes) {
  std::int64_t const left = bytes - weight_bytes(c, as) - recurrent_state_bytes(c);
  std::int64_t const per_token = kv_cache_bytes(c, 1, value_bytes(as.kv));
  if (left <= 0) return 0;
  return per_token > 0 ? left / per_token : INT64_MAX;
}

/// Work of one token: arithmetic, and bytes read from memory (weights, keys and values, recurrent
/// state).
struct token_cost {
  std::int64_t flops = 0, bytes = 0;
};

namespace policies {

/// Operations of one token in one layer that sees `context` keys: two an active parameter of a
/// linear map, and what the policy adds.
template <class Policy>
constexpr std::int64_t flops(Policy const& p, int d_model, std::int64_t context) {
  std::int64_t vectors = 0;
  describe(p, d_model, [&](tensor const& t) {
    vectors += t.role == role::vector || t.role == role::state ? t.size() : 0;
  });
  return 2 * (active(p, d_model) - vectors) + flops_beyond_products(p, d_model, context);
}

/// Work of the mean of `tokens` tokens in one call, each of which sees `context` keys.
template <class Architecture>
constexpr token_cost cost(Architecture const& c, precision const& as, std::int64_t tokens,
                          std::int64_t context) {
  std::int64_t flops =
      c.vocab_size == no_vocabulary ? 0 : 2 * std::int64_t{c.vocab_size} * c.d_model;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&](auto const& mixer, auto const& ffn) {
      flops +=
          policies::flops(mixer, c.d_model, context) + policies::flops(ffn, c.d_model, context);
    });
  std::int64_t const bytes = weight_traffic(c, as, tokens) + recurrent_state_bytes(c) +
                             kv_cache_bytes(c, context, value_bytes(as.kv));
  return {flops, bytes / tokens};
}

}  // namespace policies

/// One token on top of `context` cached ones. Its flops: two an active parameter of a linear map,
/// attention over context + 1 keys, convolution, scan and activations; norms and residuals are left
/// out.
template <class Architecture>
constexpr token_cost decode_cost(Architecture const& c, precision const& as, std::int64_t context) {
  return policies::cost(c, as, 1, context + 1);
}

/// The mean token of a prompt of `tokens` tokens in one call, with logits for each: weights are
/// read once for all of them, experts as far as random routing reaches them, and a token sees
/// (tokens + 1) / 2 keys on average.
template <class Architecture>
constexpr token_cost prefill_cost(Architecture const& c, precision const& as, std::int64_t tokens) {
  if (tokens < 1) return {};
  return policies::cost(c, as, tokens, (tokens + 1) / 2);
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
