// plait 0.1.0: policies, configurations and counts in one file.
// Generated from the headers by docs/single/amalgamate.py.
// SPDX-License-Identifier: Apache-2.0
//
// In place of <plait/policy.hpp>, not beside it; for Compiler Explorer and for a file to copy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>

// ==== plait/policy/tensor.hpp
// The vocabulary of `describe`: one list of tensors a policy, from which counts, weights, loading,
// packing, initialization and
// checkpoint names are all derived.

namespace plait {

/// What a tensor is for; a storage decides by role how to keep it.
enum class role : unsigned char {
  vector,  ///< `rows` channels with `cols` values each: norms, biases, D, convolution taps. Always
           ///< f32.
  matrix,  ///< a linear map, [out, in]
  expert,  ///< `copies` linear maps, one an expert
  router,  ///< a small linear map whose result decides where tokens go. Always f32.
  state,   ///< the logarithm of a state matrix: A = -exp(A_log), [d_inner, d_state]. Always f32.
};

/// How `initialize` fills a tensor, as the published code does.
enum class initial : unsigned char {
  normal,     ///< N(0, 0.02)
  zero,       ///< biases
  one,        ///< norm weights, D
  log_index,  ///< log(column + 1): A_log
};

/// One entry of `describe`: shape [copies][rows][cols].
struct tensor {
  char const* name = "";
  plait::role role = role::matrix;
  std::int64_t rows = 0, cols = 1, copies = 1;
  plait::initial start = initial::normal;
  constexpr std::int64_t size() const { return rows * cols * copies; }
};

// ---- What a policy says of itself. All are found by argument-dependent lookup beside the policy;
// those with a default below are optional.
//   describe(policy, d_model, visit)           every tensor once, as visit(tensor{...})
//   state_values(policy, d_model)              f32 values one sequence carries between calls,
//                                              whatever its length  (default 0)
//   kv_values(policy, d_model)                 values one sequence keeps for every token
//                                              (default 0)
//   active_parameters(policy, d_model)         parameters one token uses
//                                              (default: all)
//   extra_flops(policy, d_model, context)      operations a token beyond its linear maps, `context`
//                                              keys seen      (default 0)
//   rotates(policy)                            whether it reads the architecture's rope_theta
//                                              (default false)
//   checkpoint_name(policy)                    what its tensors are found under in a file
//                                              (default: "mixer", "ffn" or "norm")
//   hyperparameters(policy, d_model, visit)              every hyperparameter once, as
//                                              visit("name", value): an integer, a bool, a float,
//                                              or the name of an enumerator; what follows from
//                                              others is resolved. A checkpoint of plait's own type
//                                              lists
//                                              them and is compared with them; a missing one is
//                                              that of Policy{}          (default: none)

namespace policies {

template <class Policy>
constexpr std::int64_t parameters(Policy const& p, int d_model) {
  std::int64_t n = 0;
  describe(p, d_model, [&](tensor const& t) { n += t.size(); });
  return n;
}
template <class Policy>
constexpr std::int64_t active(Policy const& p, int d_model) {
  if constexpr (requires { active_parameters(p, d_model); })
    return active_parameters(p, d_model);
  else
    return parameters(p, d_model);
}
template <class Policy>
constexpr std::int64_t state(Policy const& p, int d_model) {
  if constexpr (requires { state_values(p, d_model); })
    return state_values(p, d_model);
  else
    return 0;
}
template <class Policy>
constexpr std::int64_t kv(Policy const& p, int d_model) {
  if constexpr (requires { kv_values(p, d_model); })
    return kv_values(p, d_model);
  else
    return 0;
}
template <class Policy>
constexpr std::int64_t flops_beyond_products(Policy const& p, int d_model, std::int64_t context) {
  if constexpr (requires { extra_flops(p, d_model, context); })
    return extra_flops(p, d_model, context);
  else
    return 0;
}
template <class Policy>
constexpr bool rotary(Policy const& p) {
  if constexpr (requires { rotates(p); })
    return rotates(p);
  else
    return false;
}
template <class Policy>
constexpr char const* name_in_checkpoint(Policy const& p, char const* otherwise) {
  if constexpr (requires { checkpoint_name(p); })
    return checkpoint_name(p);
  else
    return otherwise;
}
template <class Policy, class Visit>
constexpr void visit_hyperparameters(Policy const& p, int d_model, Visit&& visit) {
  if constexpr (requires { hyperparameters(p, d_model, visit); })
    hyperparameters(p, d_model, visit);
}
/// Experts a token visits, as far as the policy routes at all.
template <class Policy>
constexpr int experts_chosen(Policy const& p) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                })
    return p.top_k;
  else
    return 0;
}

}  // namespace policies
}  // namespace plait

// ==== plait/policy/attention.hpp
// Grouped-query attention as a policy.

namespace plait {

/// How attention learns of order. Jamba's has no positions of any kind: its Mamba layers carry
/// them.
enum class positions : unsigned char { none, rotary };

/// Causal grouped-query attention (Ainslie et al., arXiv:2305.13245): query head j reads key-value
/// head j / (num_heads / num_kv_heads).
struct attention {
  int num_heads = 0, num_kv_heads = 0;
  int head_dim = 0;                                     ///< 0: d_model / num_heads
  plait::positions positions = plait::positions::none;  ///< rotary: the base is hybrid::rope_theta

  constexpr int dim(int d_model) const {
    return head_dim > 0 ? head_dim : num_heads > 0 ? d_model / num_heads : 0;
  }
  friend constexpr bool operator==(attention const&, attention const&) = default;
};

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

constexpr char const* checkpoint_name(attention const&) { return "self_attn"; }

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

// ==== plait/policy/interleave.hpp
// Which layer gets which mixer and which feed-forward.

namespace plait {

/// Jamba's schedule, in the paper's letters: `blocks` blocks of l = layers_per_block layers,
/// attention : recurrent = a : m =
/// attend : recur, a mixture of experts every e = moe_every layers.
///
/// Layer i attends if i mod (a+m) is in [attend_offset, attend_offset + a), and routes if i mod e
/// is moe_offset. An offset of -1
/// is the default, (m+1)/2 and e-1; 0 is a legal offset. moe_every = 0: no layer routes.
struct interleave {
  int blocks = 1, layers_per_block = 0, attend = 0, recur = 0, moe_every = 0, attend_offset = -1,
      moe_offset = -1;

  constexpr int layers() const { return blocks * layers_per_block; }
  constexpr int period() const { return attend + recur; }
  constexpr int first_attention() const {
    return attend_offset >= 0 ? attend_offset : (recur + 1) / 2;
  }
  constexpr int first_moe() const { return moe_offset >= 0 ? moe_offset : moe_every - 1; }

  /// 0: the attention slot, 1: the recurrent slot.
  constexpr int mixer_at(int i) const {
    int const r = period() > 0 ? i % period() : 0;
    return r >= first_attention() && r < first_attention() + attend ? 0 : 1;
  }
  /// 0: the dense slot, 1: the sparse slot.
  constexpr int ffn_at(int i) const {
    return moe_every > 0 && i % moe_every == first_moe() ? 1 : 0;
  }

  friend constexpr bool operator==(interleave const&, interleave const&) = default;
};

}  // namespace plait

// ==== plait/policy/none.hpp
// The empty slot.

namespace plait {

/// A slot of a hybrid that is not there: the sublayer then has no norm, no weights and no residual.
struct none {
  friend constexpr bool operator==(none const&, none const&) = default;
};

template <class Visit>
constexpr void describe(none const&, int, Visit&&) {}

}  // namespace plait

// ==== plait/policy/norm.hpp
// The layer norm as a policy.

namespace plait {

/// y = weight * x / sqrt(mean(x^2) + eps) (Zhang and Sennrich, arXiv:1910.07467). eps travels at
/// run time, in hybrid::norm_eps.
struct rms_norm {
  friend constexpr bool operator==(rms_norm const&, rms_norm const&) = default;
};

template <class Visit>
constexpr void describe(rms_norm const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .start = initial::one});
}

constexpr char const* checkpoint_name(rms_norm const&) { return "rms_norm"; }

}  // namespace plait

// ==== plait/policy/hybrid.hpp
// The composition: which component sits in which slot, and the hyperparameters of each.

namespace plait {

/// vocab_size of a stack of layers: embeddings go in, the residual stream comes out; no embedding,
/// no final norm, no head.
inline constexpr int no_vocabulary = -1;

/// A hybrid sequence model: types compose, values parameterize. Any slot may be `none`.
///
/// A model never sees `hybrid` itself, only what any architecture offers: d_model, vocab_size,
/// norm, norm_eps, tie_embeddings,
/// mixers() and ffns() as tuples of policies, num_layers(), and for layer i the index of its policy
/// in each. A struct with these
/// members (more than two mixers, a list instead of a pattern) is an architecture as good as this
/// one.
template <class Attention, class Recurrent, class Dense, class Sparse, class Schedule = interleave,
          class Norm = rms_norm>
struct hybrid {
  int d_model = 0, vocab_size = 0;
  Schedule layers{};
  Attention attention{};
  Recurrent recurrent{};
  Dense dense{};
  Sparse sparse{};
  Norm norm{};
  float norm_eps = 1e-6f;   ///< reals stay out of layers' and kernels' template arguments: they
                            ///< travel at run time
  float rope_theta = 0.0f;  ///< base of rotary positions; needed where attention has them
  bool tie_embeddings = false;

  constexpr auto mixers() const { return std::tuple{attention, recurrent}; }
  constexpr auto ffns() const { return std::tuple{dense, sparse}; }
  constexpr int num_layers() const { return layers.layers(); }
  constexpr int mixer_at(int i) const { return layers.mixer_at(i); }
  /// Without a sparse component (n = 1) every layer is dense, and e plays no part.
  constexpr int ffn_at(int i) const { return std::is_same_v<Sparse, none> ? 0 : layers.ffn_at(i); }

  friend constexpr bool operator==(hybrid const&, hybrid const&) = default;
};

/// Calls visit(mixer policy, feed-forward policy) for layer i of any architecture; nothing where an
/// index is outside its tuple.
template <class Architecture, class Visit>
constexpr void visit_layer(Architecture const& c, int i, Visit&& visit) {
  auto const pick = [](auto const& tuple, int index, auto&& then) {
    std::apply(
        [&](auto const&... policy) {
          int k = 0;
          (void)((k++ == index ? (then(policy), true) : false) || ...);
        },
        tuple);
  };
  pick(c.mixers(), c.mixer_at(i), [&](auto const& mixer) {
    pick(c.ffns(), c.ffn_at(i), [&](auto const& ffn) { visit(mixer, ffn); });
  });
}

}  // namespace plait

// ==== plait/policy/rule.hpp
// How a class template states a rule.

// One rule of a class template, as a member: a static_assert in a class of its own. clang gives up
// a class at its first failed assertion; this way every broken rule is heard at once.
#define PLAIT_RULE(name, condition, sentence) \
  template <bool Holds>                       \
  struct name##_rule {                        \
    static_assert(Holds, sentence);           \
  };                                          \
  [[no_unique_address]] name##_rule<(condition)> name##_holds

// ==== plait/policy/check.hpp
// The rules between components. Each layer states its own (layers/).

namespace plait {

/// What a schedule demands; specialise for a schedule of your own.
template <class Schedule>
struct check_schedule {
  template <Schedule>
  struct rules {};
};

template <>
struct check_schedule<interleave> {
  template <interleave S>
  struct rules {
    PLAIT_RULE(blocks, S.blocks > 0, "plait: a model needs blocks, at least one");
    PLAIT_RULE(layers_per_block, S.layers_per_block > 0,
               "plait: a model needs layers_per_block (l), at least one");
    PLAIT_RULE(period, S.attend >= 0 && S.recur >= 0 && S.attend + S.recur > 0,
               "plait: attend + recur (a + m) must be positive, neither negative");
    PLAIT_RULE(moe_every, S.moe_every >= 0,
               "plait: moe_every (e) must not be negative; 0 means that no layer routes");
    PLAIT_RULE(period_divides, S.blocks <= 1 || S.layers_per_block % std::max(S.period(), 1) == 0,
               "plait: a + m must divide l, the layers per block, in a model of several blocks");
    PLAIT_RULE(moe_divides, S.blocks <= 1 || S.layers_per_block % std::max(S.moe_every, 1) == 0,
               "plait: e must divide l, the layers per block, in a model of several blocks");
    PLAIT_RULE(attend_offset,
               S.attend_offset >= -1 && (S.period() <= 0 || S.attend <= 0 ||
                                         S.first_attention() + S.attend <= S.period()),
               "plait: the attention offset plus a must not exceed a + m");
    PLAIT_RULE(moe_offset, S.moe_offset >= -1 && (S.moe_every <= 0 || S.first_moe() < S.moe_every),
               "plait: the MoE offset must be below e");
  };
};

namespace policies {

template <class Architecture>
constexpr bool every_layer_has_a_sublayer(Architecture const& c) {
  bool all = true;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&]<class M, class F>(M const&, F const&) {
      all = all && !(std::is_same_v<M, none> && std::is_same_v<F, none>);
    });
  return all;
}

template <class Architecture>
constexpr bool rotary_positions_have_a_base(Architecture const& c) {
  bool rotary = false;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(
        c, i, [&](auto const& mixer, auto const&) { rotary = rotary || policies::rotary(mixer); });
  if constexpr (requires { c.rope_theta; })
    return !rotary || c.rope_theta > 0;
  else
    return !rotary;
}

template <auto C>
struct schedule_rules {};  // an architecture without a schedule answers for itself
template <auto C>
requires requires { C.layers; }
struct schedule_rules<C> {
  [[no_unique_address]]
  typename check_schedule<std::remove_const_t<decltype(C.layers)>>::template rules<C.layers>
      rules;
};
}  // namespace policies

/// Static assertions on a whole architecture, each one sentence. They survive zeros: a
/// hyperparameter left out is 0.
template <auto C>
struct check {
  [[no_unique_address]] policies::schedule_rules<C> schedule;
  PLAIT_RULE(d_model, C.d_model > 0, "plait: a model needs d_model");
  PLAIT_RULE(vocab_size, C.vocab_size > 0 || C.vocab_size == no_vocabulary,
             "plait: a model needs vocab_size (plait::no_vocabulary for a stack of layers without "
             "embedding and head)");
  PLAIT_RULE(norm_eps, C.norm_eps > 0.0f, "plait: norm_eps must be positive");
  PLAIT_RULE(layers, C.num_layers() > 0, "plait: a model needs at least one layer");
  PLAIT_RULE(rope_theta, policies::rotary_positions_have_a_base(C),
             "plait: rotary positions need rope_theta, their base");
  PLAIT_RULE(sublayers, policies::every_layer_has_a_sublayer(C),
             "plait: every layer needs a mixer or a feed-forward; here a layer has neither");
};

}  // namespace plait

// ==== plait/policy/mamba.hpp
// Mamba-1, with Jamba's inner norms, as a policy.

namespace plait {

/// Selective state space layer (Gu and Dao, arXiv:2312.00752) with RMS norms on dt, B and C (Lieber
/// et al., arXiv:2403.19887).
struct mamba {
  int d_state = 16, d_conv = 4, expand = 2;
  int dt_rank = 0;  ///< 0: d_model / 16, rounded up
  bool conv_bias = true, proj_bias = false, inner_norms = true;

  constexpr int inner(int d_model) const { return expand * d_model; }
  constexpr int rank(int d_model) const { return dt_rank > 0 ? dt_rank : (d_model + 15) / 16; }
  friend constexpr bool operator==(mamba const&, mamba const&) = default;
};

template <class Visit>
constexpr void describe(mamba const& p, int d_model, Visit&& visit) {
  std::int64_t const d = p.inner(d_model), r = p.rank(d_model), n = p.d_state;
  visit(tensor{.name = "in_proj", .rows = 2 * d, .cols = d_model});
  if (p.proj_bias)
    visit(tensor{
        .name = "in_proj.bias", .role = role::vector, .rows = 2 * d, .start = initial::zero});
  visit(tensor{.name = "conv1d", .role = role::vector, .rows = d, .cols = p.d_conv});
  if (p.conv_bias)
    visit(tensor{.name = "conv1d.bias", .role = role::vector, .rows = d, .start = initial::zero});
  visit(tensor{.name = "x_proj", .rows = r + 2 * n, .cols = d});
  visit(tensor{.name = "dt_proj", .rows = d, .cols = r});
  visit(tensor{.name = "dt_proj.bias", .role = role::vector, .rows = d, .start = initial::zero});
  visit(tensor{
      .name = "A_log", .role = role::state, .rows = d, .cols = n, .start = initial::log_index});
  visit(tensor{.name = "D", .role = role::vector, .rows = d, .start = initial::one});
  if (p.inner_norms) {
    visit(tensor{.name = "dt_layernorm", .role = role::vector, .rows = r, .start = initial::one});
    visit(tensor{.name = "b_layernorm", .role = role::vector, .rows = n, .start = initial::one});
    visit(tensor{.name = "c_layernorm", .role = role::vector, .rows = n, .start = initial::one});
  }
  visit(tensor{.name = "out_proj", .rows = d_model, .cols = d});
  if (p.proj_bias)
    visit(tensor{
        .name = "out_proj.bias", .role = role::vector, .rows = d_model, .start = initial::zero});
}

constexpr char const* checkpoint_name(mamba const&) { return "mamba"; }

template <class Visit>
constexpr void hyperparameters(mamba const& p, int d_model, Visit&& visit) {
  visit("d_state", p.d_state);
  visit("d_conv", p.d_conv);
  visit("expand", p.expand);
  visit("dt_rank", p.rank(d_model));
  visit("conv_bias", p.conv_bias);
  visit("proj_bias", p.proj_bias);
  visit("inner_norms", p.inner_norms);
}

/// The convolution window (d_conv - 1 columns are enough) and the recurrent state.
constexpr std::int64_t state_values(mamba const& p, int d_model) {
  return std::int64_t{p.inner(d_model)} * ((p.d_conv > 0 ? p.d_conv - 1 : 0) + p.d_state);
}

/// Convolution: a multiply-add a tap. Scan: dt*A, exp, two multiply-adds and dt*u*B a state;
/// softplus, D, SiLU and gate a channel.
constexpr std::int64_t extra_flops(mamba const& p, int d_model, std::int64_t) {
  return std::int64_t{p.inner(d_model)} * (2 * p.d_conv + 7 * std::int64_t{p.d_state} + 16);
}

}  // namespace plait

// ==== plait/policy/mlp.hpp
// The dense SwiGLU feed-forward as a policy.

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
constexpr void hyperparameters(mlp const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
}

/// SiLU, counted as four operations, and the product with it.
constexpr std::int64_t extra_flops(mlp const& p, int, std::int64_t) {
  return 5 * std::int64_t{p.d_ff};
}

}  // namespace plait

// ==== plait/policy/moe.hpp
// The mixture of experts as a policy.

namespace plait {

/// What weights an expert's output: its softmax probability as it is (Jamba), or divided by the sum
/// over the chosen (Mixtral).
enum class router_weights : unsigned char { as_they_are, renormalised };

/// top_k of num_experts SwiGLU experts a token (Shazeer et al., arXiv:1701.06538); softmax over all
/// experts, then top-k; no capacity, no dropped tokens.
struct moe {
  int d_ff = 0, num_experts = 0, top_k = 0;
  router_weights weights = router_weights::as_they_are;
  friend constexpr bool operator==(moe const&, moe const&) = default;
};

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

constexpr char const* checkpoint_name(moe const&) { return "feed_forward"; }

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

// ==== plait/models/jamba/config.hpp
// The published Jamba configurations.

namespace plait::configs {

namespace detail {
// Functions, not lambdas inside the variable template: those crash nvcc 13.0.
template <int n, int K>
constexpr auto jamba_experts() {
  if constexpr (n == 1)
    return none{};
  else
    return moe{.d_ff = 14336, .num_experts = n, .top_k = K};
}
template <class Sparse>
constexpr hybrid<attention, mamba, mlp, Sparse> jamba_with(interleave const& layers,
                                                           Sparse const& sparse) {
  return {.d_model = 4096,
          .vocab_size = 65536,
          .layers = layers,
          .attention = {.num_heads = 32, .num_kv_heads = 8},
          .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 256},
          .dense = {.d_ff = 14336},
          .sparse = sparse};
}
}  // namespace detail

/// The paper's notation at v0.1's widths: jamba<l, a, m, e, n, K>. With n = 1 there is no router
/// and every feed-forward is dense.
template <int l, int a, int m, int e, int n, int K, int blocks = 4>
inline constexpr auto jamba = detail::jamba_with(interleave{.blocks = blocks,
                                                            .layers_per_block = l,
                                                            .attend = a,
                                                            .recur = m,
                                                            .moe_every = n == 1 ? 0 : e},
                                                 detail::jamba_experts<n, K>());

/// Jamba v0.1 (Lieber et al., arXiv:2403.19887): 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2.
inline constexpr auto jamba_v0_1 = jamba<8, 1, 7, 2, 16, 2>;

/// Jamba-1.5-Mini (arXiv:2408.12570) and Jamba2-Mini have v0.1's shape.
inline constexpr auto jamba_1_5_mini = jamba_v0_1;

/// Jamba-1.5-Large: 9 blocks. Widths as the paper states them, d_ff such that the published 398B
/// and 94B come out.
inline constexpr auto jamba_1_5_large = [] {
  auto c = jamba<8, 1, 7, 2, 16, 2, 9>;
  c.d_model = 8192;
  c.attention.num_heads = 64;
  c.recurrent.dt_rank = 512;
  c.dense.d_ff = c.sparse.d_ff = 24576;
  return c;
}();

/// Jamba-Reasoning-3B: dense, tied, 26 Mamba and 2 attention layers.
inline constexpr auto jamba_reasoning_3b = [] {
  auto c = jamba<14, 1, 13, 2, 1, 1, 2>;
  c.d_model = 2560;
  c.attention = {.num_heads = 20, .num_kv_heads = 1};
  c.recurrent.dt_rank = 160;
  c.dense.d_ff = 8192;
  c.tie_embeddings = true;
  return c;
}();

}  // namespace plait::configs

// ==== plait/models/mixtral/config.hpp
// Mixtral-8x7B, which the Jamba paper compares itself with.

namespace plait::configs {

/// Mixtral-8x7B (Jiang et al., arXiv:2401.04088): attention and a renormalised top-2 of 8 experts
/// in every layer, rotary positions.
inline constexpr hybrid<attention, none, none, moe> mixtral_8x7b{
    .d_model = 4096,
    .vocab_size = 32000,
    .layers = {.blocks = 32, .layers_per_block = 1, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 32, .num_kv_heads = 8, .positions = positions::rotary},
    .sparse = {.d_ff = 14336,
               .num_experts = 8,
               .top_k = 2,
               .weights = router_weights::renormalised},
    .norm_eps = 1e-5f,
    .rope_theta = 1e6f};

}  // namespace plait::configs

// ==== plait/policy/precision.hpp
// Which element type each kind of tensor has.

namespace plait {

enum class dtype : unsigned char { f32, bf16, int8 };

/// Storage by role, arithmetic, key-value cache. Norms, router, A, D, biases and recurrent state
/// are always f32.
struct precision {
  dtype weights = dtype::f32, experts = dtype::f32, compute = dtype::f32, kv = dtype::f32;
  friend constexpr bool operator==(precision const&, precision const&) = default;
};

inline constexpr precision f32{};
inline constexpr precision bf16{.weights = dtype::bf16, .experts = dtype::bf16, .kv = dtype::bf16};
inline constexpr precision int8{.weights = dtype::int8, .experts = dtype::int8, .kv = dtype::bf16};
inline constexpr precision experts_int8{
    .weights = dtype::bf16, .experts = dtype::int8, .kv = dtype::bf16};

/// The same storage with the products of activations rounded to `compute`: with_compute(int8,
/// dtype::int8) is what engines call q8_0.
constexpr precision with_compute(precision p, dtype compute) {
  p.compute = compute;
  return p;
}

/// What the activations are rounded to when they meet weights stored as `stored`: never more
/// coarsely than the weights are, and only as far as `compute` asks for it. f32 computes with the
/// stored weights exactly; bf16 rounds activations that meet bf16 weights; int8 rounds those that
/// meet int8 weights to 8 bits with a scale a token, and those that meet bf16 weights to bf16. Sums
/// are always f32.
constexpr dtype activation_type(dtype stored, dtype compute) {
  if (compute == dtype::int8) return stored;
  return compute == dtype::bf16 && stored == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

/// Bytes of one value of the key-value cache.
constexpr int value_bytes(dtype t) { return t == dtype::f32 ? 4 : t == dtype::bf16 ? 2 : 1; }

/// Bytes of an [rows, cols] matrix. int8 has a 16-bit scale for every block of 32 along the
/// columns.
constexpr std::int64_t matrix_bytes(dtype t, std::int64_t rows, std::int64_t cols) {
  return rows * (cols * value_bytes(t) + (t == dtype::int8 ? 2 * ((cols + 31) / 32) : 0));
}

}  // namespace plait

// ==== plait/policy/count.hpp
// Counts: what a configuration costs, before anything is allocated.

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
/// is an attention layer, one with a
/// state of fixed size a recurrent layer.
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
/// convolution windows of d_conv - 1
/// columns and recurrent states.
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
/// state; 0 if these alone do not
/// fit, and the largest value there is if no layer keeps anything for every token.
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
/// read once for all of them, experts as
/// far as random routing reaches them, and a token sees (tokens + 1) / 2 keys on average.
template <class Architecture>
constexpr token_cost prefill_cost(Architecture const& c, precision const& as, std::int64_t tokens) {
  if (tokens < 1) return {};
  return policies::cost(c, as, tokens, (tokens + 1) / 2);
}

}  // namespace plait
