// Costs of an architecture without a model: parameters, bytes and operations, at compile time or at
// run time.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/hybrid.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

namespace plait {

/// Numbers of layers and parameters.
struct counts {
  int layers = 0;
  int attention_layers = 0;    ///< layers that keep values per token
  int recurrent_layers = 0;    ///< layers with a state of fixed size
  int moe_layers = 0;          ///< layers that route
  int expert_evaluations = 0;  ///< experts per token, over all layers
  std::int64_t total_parameters = 0;
  std::int64_t active_parameters = 0;  ///< parameters that one token uses
  friend constexpr bool operator==(counts const&, counts const&) = default;
};

/// Counts layers and parameters of any architecture.
///
/// ```cpp
/// static_assert(plait::count(plait::configs::jamba_v0_1).active_parameters == 12'110'311'296);
/// // 256 Ki tokens in 16 bits: 4 GiB
/// static_assert(plait::kv_cache_bytes(plait::configs::jamba_v0_1, 262'144, 2) ==
///               std::int64_t{4} << 30);
/// static_assert(plait::recurrent_state_bytes(plait::configs::jamba_v0_1) == 17'432'576);
/// ```
/// Equation: active_parameters = total_parameters without the experts that are not selected for a
///   token; embedding and head count once if tied
/// Cost: a few operations per layer
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

/// Bytes of the keys and values of `sequences` sequences of `tokens` tokens each.
template <class Architecture>
constexpr std::int64_t kv_cache_bytes(Architecture const& c, std::int64_t tokens,
                                      int bytes_per_value, std::int64_t sequences = 1) {
  std::int64_t values = 0;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i,
                [&](auto const& mixer, auto const&) { values += policies::kv(mixer, c.d_model); });
  return values * tokens * bytes_per_value * sequences;
}

/// Bytes of the recurrent state of `sequences` sequences, for any length; f32 in every precision.
template <class Architecture>
constexpr std::int64_t recurrent_state_bytes(Architecture const& c, std::int64_t sequences = 1) {
  std::int64_t values = 0;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(
        c, i, [&](auto const& mixer, auto const&) { values += policies::state(mixer, c.d_model); });
  return values * std::int64_t{sizeof(float)} * sequences;
}

namespace policies {

/// Bytes of a policy's tensors; of an expert tensor `experts` copies, or all where that is
/// negative.
template <class Policy>
constexpr std::int64_t bytes(Policy const& p, int d_model, precision const& as,
                             double experts = -1) {
  double n = 0;
  describe(p, d_model, [&](tensor const& t) {
    dtype const stored = t.role == role::matrix   ? as.weights
                         : t.role == role::expert ? as.experts
                                                  : dtype::f32;
    double const copies = t.role == role::expert && experts >= 0 ? experts : double(t.copies);
    n += double(matrix_bytes(stored, t.rows, t.cols)) * copies;
  });
  return std::int64_t(n);
}

/// Expected number of distinct experts of `tokens` tokens, each of which draws K of n at random:
/// n (1 - (1 - K/n)^tokens).
template <class Policy>
constexpr double experts_reached(Policy const& p, std::int64_t tokens) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                }) {
    if (p.num_experts <= 0) return 0;
    // (1 - K/n)^tokens by squaring, because std::pow is not constexpr.
    double power = 1;
    double base = 1 - double(p.top_k) / p.num_experts;
    for (std::int64_t exponent = tokens; exponent > 0; exponent /= 2) {
      if (exponent % 2 != 0) power *= base;
      base *= base;
    }
    return p.num_experts * (1 - power);
  } else {
    return 0;
  }
}

/// Bytes of weights that one call of `tokens` tokens reads; all weights where tokens is 0.
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

/// The maximum context of one sequence, in tokens, that fits into `bytes` with the weights and the
/// recurrent state: 0 if these alone do not fit, INT64_MAX if no layer keeps values per token.
template <class Architecture>
constexpr std::int64_t max_context(Architecture const& c, precision const& as, std::int64_t bytes) {
  std::int64_t const left = bytes - weight_bytes(c, as) - recurrent_state_bytes(c);
  std::int64_t const per_token = kv_cache_bytes(c, 1, value_bytes(as.kv));
  if (left <= 0) return 0;
  return per_token > 0 ? left / per_token : INT64_MAX;
}

/// Cost of one token: operations, and bytes read from memory (weights, keys and values, recurrent
/// state).
struct token_cost {
  std::int64_t flops = 0;
  std::int64_t bytes = 0;
};

namespace policies {

/// Operations of one token in one component, with `context` keys: two per active parameter of a
/// linear map, and extra_flops.
template <class Policy>
constexpr std::int64_t flops(Policy const& p, int d_model, std::int64_t context) {
  std::int64_t vectors = 0;
  describe(p, d_model, [&](tensor const& t) {
    vectors += t.role == role::vector || t.role == role::state ? t.size() : 0;
  });
  return 2 * (active(p, d_model) - vectors) + flops_beyond_products(p, d_model, context);
}

/// Mean cost per token of a call of `tokens` tokens with `context` keys each.
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

/// Cost of one token on top of `context` cached tokens.
/// Equation: flops = 2 per active parameter of a linear map, plus `extra_flops` of each policy with
///   context + 1 keys; norms and residual adds are not counted
/// Test: tests/unit/policy/policy_test.cpp
template <class Architecture>
constexpr token_cost decode_cost(Architecture const& c, precision const& as, std::int64_t context) {
  return policies::cost(c, as, 1, context + 1);
}

/// Mean cost per token of a prompt of `tokens` tokens in one call with logits for each; zero where
/// `tokens` is below 1. Weights are read once per call, the weights of experts as often as random
/// routing selects them, and a token has (tokens + 1) / 2 keys on average.
template <class Architecture>
constexpr token_cost prefill_cost(Architecture const& c, precision const& as, std::int64_t tokens) {
  if (tokens < 1) return {};
  return policies::cost(c, as, tokens, (tokens + 1) / 2);
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
