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
// The functions of a policy: `describe`, the list of its tensors, and optional ones. Counts,
// weights, loading, packing, initialization and checkpoint names are derived from `describe`.

namespace plait {

/// The role of a tensor, by which a storage selects its type.
enum class role : unsigned char {
  vector,  ///< `rows` channels with `cols` values each: norms, biases, D, convolution taps; f32
  matrix,  ///< a linear map, [out, in]
  expert,  ///< `copies` linear maps, one per expert
  router,  ///< a small linear map whose result selects the experts; f32
  state,   ///< the logarithm of a state matrix: A = -exp(A_log), [d_inner, d_state]; f32
};

/// The initial values of a tensor (model/initialize.hpp), those of the published code.
enum class initial : unsigned char {
  normal,     ///< normal, mean 0, standard deviation 0.02
  zero,       ///< biases
  one,        ///< norm weights, D
  log_index,  ///< log(column + 1): A_log
};

/// One entry of `describe`. The functions of a policy are found by argument-dependent lookup:
///
/// - `describe(policy, d_model, visit)`: calls visit(tensor{...}) once per tensor; required
/// - `state_values(policy, d_model)`: values that a sequence carries between calls, for any length;
///   default 0
/// - `kv_values(policy, d_model)`: values that a sequence keeps per token; default 0
/// - `active_parameters(policy, d_model)`: parameters that one token uses; default all
/// - `extra_flops(policy, d_model, context)`: operations per token beyond its linear maps; default
///   0
/// - `rotates(policy)`: whether the policy needs the architecture's rope_theta; default false
/// - `checkpoint_name(policy)`: the name of the policy's tensors in a checkpoint, and of the policy
///   in a config.json of model type plait; default "mixer", "ffn" or "norm"
/// - `hyperparameters(policy, d_model, visit)`: calls visit("name", value) once per hyperparameter,
///   the value an integer, a bool, a float, or an enumerator's name as text; a default that is
///   derived from other hyperparameters is resolved. They are written to that config.json and
///   compared with it; default none
///
/// Shapes: [copies][rows][cols]; `copies` is the number of experts for an expert tensor, else 1
/// Test: tests/unit/layers/weights_test.cpp, tests/unit/policy/policy_test.cpp
struct tensor {
  char const* name = "";
  plait::role role = role::matrix;
  std::int64_t rows = 0;
  std::int64_t cols = 1;
  std::int64_t copies = 1;
  plait::initial start = initial::normal;
  constexpr std::int64_t size() const { return rows * cols * copies; }
};

namespace policies {

/// Values of all tensors.
template <class Policy>
constexpr std::int64_t parameters(Policy const& p, int d_model) {
  std::int64_t n = 0;
  describe(p, d_model, [&](tensor const& t) { n += t.size(); });
  return n;
}
/// active_parameters, or all parameters.
template <class Policy>
constexpr std::int64_t active(Policy const& p, int d_model) {
  if constexpr (requires { active_parameters(p, d_model); })
    return active_parameters(p, d_model);
  else
    return parameters(p, d_model);
}
/// state_values, or 0.
template <class Policy>
constexpr std::int64_t state(Policy const& p, int d_model) {
  if constexpr (requires { state_values(p, d_model); })
    return state_values(p, d_model);
  else
    return 0;
}
/// kv_values, or 0.
template <class Policy>
constexpr std::int64_t kv(Policy const& p, int d_model) {
  if constexpr (requires { kv_values(p, d_model); })
    return kv_values(p, d_model);
  else
    return 0;
}
/// extra_flops, or 0.
template <class Policy>
constexpr std::int64_t flops_beyond_products(Policy const& p, int d_model, std::int64_t context) {
  if constexpr (requires { extra_flops(p, d_model, context); })
    return extra_flops(p, d_model, context);
  else
    return 0;
}
/// rotates, or false.
template <class Policy>
constexpr bool rotary(Policy const& p) {
  if constexpr (requires { rotates(p); })
    return rotates(p);
  else
    return false;
}
/// checkpoint_name, or `otherwise`.
template <class Policy>
constexpr char const* name_in_checkpoint(Policy const& p, char const* otherwise) {
  if constexpr (requires { checkpoint_name(p); })
    return checkpoint_name(p);
  else
    return otherwise;
}
/// hyperparameters, or nothing.
template <class Policy, class Visit>
constexpr void visit_hyperparameters(Policy const& p, int d_model, Visit&& visit) {
  if constexpr (requires { hyperparameters(p, d_model, visit); })
    hyperparameters(p, d_model, visit);
}
/// Experts per token; 0 where the policy does not route.
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
// Causal grouped-query attention as a policy: hyperparameters, tensors and costs. The computation
// is in layers/attention.hpp and ops/attention/paged_attention.hpp.

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

// ==== plait/policy/interleave.hpp
// Jamba's schedule: the mixer and the feed-forward of each layer.

namespace plait {

/// Jamba's schedule: blocks of layers with attention and recurrence at the ratio a : m, and a
/// mixture of experts in every e-th layer.
/// Equation: in the paper's letters l = layers_per_block, a = attend, m = recur, e = moe_every.
///   Layer i has attention if i mod (a + m) is in [attend_offset, attend_offset + a), and a mixture
///   of experts if i mod e = moe_offset; with e = 0 no layer has. An offset of -1 stands for the
///   default, (m + 1) / 2 and e - 1
/// Errors: none; check.hpp has the rules
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp
struct interleave {
  int blocks = 1;
  int layers_per_block = 0;
  int attend = 0;
  int recur = 0;
  int moe_every = 0;
  int attend_offset = -1;
  int moe_offset = -1;

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
// The empty slot: the sublayer has no norm, no weights and no residual.

namespace plait {

/// An empty slot: x passes the sublayer unchanged.
/// Errors: none; check.hpp refuses a layer whose two slots are empty
/// Test: tests/checks/compile_fail/misuse.cpp, tests/unit/model/invariance_test.cpp
struct none {
  friend constexpr bool operator==(none const&, none const&) = default;
};

/// No tensors.
template <class Visit>
constexpr void describe(none const&, int, Visit&&) {}

}  // namespace plait

// ==== plait/policy/norm.hpp
// The layer norm as a policy. The computation is in layers/norm.hpp.

namespace plait {

/// The RMS norm.
/// Equation: y = weight x / sqrt(mean(x^2) + eps); eps is `hybrid::norm_eps`, a run-time value
/// Shapes: weight [d_model]. In a config.json of model type plait its name is "rms_norm"
/// Cost: not counted by policy/count.hpp
/// Source: Zhang and Sennrich, arXiv:1910.07467
/// Test: tests/unit/policy/policy_test.cpp, tests/unit/ops/norm/add_norm_test.cpp
struct rms_norm {
  friend constexpr bool operator==(rms_norm const&, rms_norm const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(rms_norm const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .start = initial::one});
}

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(rms_norm const&) { return "rms_norm"; }

}  // namespace plait

// ==== plait/policy/hybrid.hpp
// The composition of an architecture: the component in each slot, and its hyperparameters.

namespace plait {

/// The vocab_size of a stack of layers, which has no embedding, no final norm and no head:
/// embeddings are its input, the residual stream is its output.
inline constexpr int no_vocabulary = -1;

/// A hybrid sequence model: types compose, values parameterize. Any slot may be `none`.
///
/// An architecture is any struct with the members d_model, vocab_size, norm, norm_eps,
/// tie_embeddings, mixers() and ffns() (tuples of policies), num_layers(), and mixer_at(i) and
/// ffn_at(i), the indices of layer i's policies in the tuples. A model uses no other member, so
/// that an architecture of your own may have more than two mixers, or a list in place of a pattern.
///
/// ```cpp
/// inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::none> small{
///     .d_model = 64,
///     .vocab_size = 256,
///     .layers = {.blocks = 2, .layers_per_block = 4, .attend = 1, .recur = 3},
///     .attention = {.num_heads = 4, .num_kv_heads = 2},
///     .dense = {.d_ff = 160}};
/// static_assert(small.num_layers() == 8 && small.mixer_at(2) == 0 && small.mixer_at(3) == 1);
/// ```
///
/// Equation: layer i: x += mixer(norm(x)), x += ffn(norm(x)) with the mixer mixers()[mixer_at(i)]
///   and the feed-forward ffns()[ffn_at(i)]; a slot that is `none` has no norm and no add
/// Errors: none; check.hpp has the rules
/// Cost: none at run time: everything but the reals is a type or a constant
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp, tests/checks/package/own_parts/main.cpp (an
///   architecture that is not a hybrid)
template <class Attention, class Recurrent, class Dense, class Sparse, class Schedule = interleave,
          class Norm = rms_norm>
struct hybrid {
  int d_model = 0;
  int vocab_size = 0;
  Schedule layers{};
  Attention attention{};
  Recurrent recurrent{};
  Dense dense{};
  Sparse sparse{};
  Norm norm{};
  float norm_eps = 1e-6f;   ///< a real: a run-time value, no template argument of a layer
  float rope_theta = 0.0f;  ///< base of rotary positions
  bool tie_embeddings = false;

  constexpr auto mixers() const { return std::tuple{attention, recurrent}; }
  constexpr auto ffns() const { return std::tuple{dense, sparse}; }
  constexpr int num_layers() const { return layers.layers(); }
  constexpr int mixer_at(int i) const { return layers.mixer_at(i); }
  /// Without a sparse component (n = 1) every layer is dense for any e.
  constexpr int ffn_at(int i) const { return std::is_same_v<Sparse, none> ? 0 : layers.ffn_at(i); }

  friend constexpr bool operator==(hybrid const&, hybrid const&) = default;
};

/// Calls visit(mixer policy, feed-forward policy) for layer i of any architecture; does nothing
/// where an index is outside its tuple.
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

// ==== plait/policy/mamba.hpp
// Mamba-1 with Jamba's inner norms as a policy: hyperparameters, tensors and costs. The computation
// is in layers/mamba.hpp.

namespace plait {

/// A selective state space layer with RMS norms of dt, B and C.
/// Equation: d = inner = expand d_model; N = d_state; W = d_conv; R = rank = dt_rank, or d_model /
///   16 rounded up where dt_rank is 0
/// Shapes: in_proj [2 d, d_model], conv1d [d, W], x_proj [R + 2 N, d], dt_proj [d, R], dt_proj.bias
///   [d], A_log [d, N], D [d], out_proj [d_model, d]; with inner_norms dt_layernorm [R],
///   b_layernorm and c_layernorm [N]; with proj_bias in_proj.bias [2 d] and out_proj.bias
///   [d_model]; with conv_bias conv1d.bias [d]. In a config.json of model type plait its name is
///   "mamba" and dt_rank is R
/// State: d (W - 1 + N) values per sequence (`state_values`), for any length
/// Errors: none; layers/mamba.hpp checks the hyperparameters
/// Cost: d (2 W + 7 N + 16) operations per token beyond the linear maps: the convolution two per
///   tap; the scan seven per state (dt A, exp, two multiply-adds, dt u B); softplus, D, SiLU and
///   gate 16 per channel
/// Source: Gu and Dao, arXiv:2312.00752; the norms: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp
struct mamba {
  int d_state = 16;
  int d_conv = 4;
  int expand = 2;
  int dt_rank = 0;  ///< 0: d_model / 16, rounded up
  bool conv_bias = true;
  bool proj_bias = false;
  bool inner_norms = true;

  constexpr int inner(int d_model) const { return expand * d_model; }
  constexpr int rank(int d_model) const { return dt_rank > 0 ? dt_rank : (d_model + 15) / 16; }
  friend constexpr bool operator==(mamba const&, mamba const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(mamba const& p, int d_model, Visit&& visit) {
  std::int64_t const d = p.inner(d_model);
  std::int64_t const r = p.rank(d_model);
  std::int64_t const n = p.d_state;
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

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(mamba const&) { return "mamba"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
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

/// Values that a sequence carries between calls: the last d_conv - 1 inputs of the convolution, and
/// the recurrent state.
constexpr std::int64_t state_values(mamba const& p, int d_model) {
  return std::int64_t{p.inner(d_model)} * ((p.d_conv > 0 ? p.d_conv - 1 : 0) + p.d_state);
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(mamba const& p, int d_model, std::int64_t) {
  return std::int64_t{p.inner(d_model)} * (2 * p.d_conv + 7 * std::int64_t{p.d_state} + 16);
}

}  // namespace plait

// ==== plait/policy/mlp.hpp
// The dense SwiGLU feed-forward as a policy: hyperparameters, tensors and costs. The computation is
// in layers/mlp.hpp.

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

// ==== plait/policy/moe.hpp
// The mixture of experts as a policy: hyperparameters, tensors and costs. The computation is in
// layers/moe.hpp.

namespace plait {

/// The weight of an expert's output: its softmax probability (Jamba), or that divided by the sum
/// over the chosen experts (Mixtral).
enum class router_weights : unsigned char { as_they_are, renormalised };

/// A mixture of experts: top_k of num_experts SwiGLU experts per token, without capacity and
/// without dropped tokens.
/// Equation: p = softmax(router x) over all experts; y = sum of w_e mlp_e(x) over the top_k largest
///   p; w_e = p_e (`as_they_are`), or p_e divided by the sum of the chosen p (`renormalised`)
/// Shapes: router [num_experts, d_model]; gate_proj and up_proj [num_experts][d_ff, d_model],
///   down_proj [num_experts][d_model, d_ff]. One token uses d_model num_experts + 3 d_model d_ff
///   top_k parameters. In a config.json of model type plait its name is "feed_forward"
/// Errors: none; layers/moe.hpp checks the hyperparameters
/// Cost: 5 num_experts + top_k (5 d_ff + 2 d_model) operations per token beyond the linear maps:
///   softmax, activation (policy/mlp.hpp), weighted sum
/// Source: Shazeer et al., arXiv:1701.06538; `as_they_are`: Lieber et al., arXiv:2403.19887;
///   `renormalised`: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/policy/policy_test.cpp
struct moe {
  int d_ff = 0;
  int num_experts = 0;
  int top_k = 0;
  router_weights weights = router_weights::as_they_are;
  friend constexpr bool operator==(moe const&, moe const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
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

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(moe const&) { return "feed_forward"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
template <class Visit>
constexpr void hyperparameters(moe const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
  visit("num_experts", p.num_experts);
  visit("top_k", p.top_k);
  visit("weights", p.weights == router_weights::renormalised ? "renormalised" : "as_they_are");
}

/// Parameters that one token uses: the router, and top_k experts.
constexpr std::int64_t active_parameters(moe const& p, int d_model) {
  return std::int64_t{d_model} * p.num_experts + std::int64_t{3} * d_model * p.d_ff * p.top_k;
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(moe const& p, int d_model, std::int64_t) {
  return 5 * std::int64_t{p.num_experts} +
         p.top_k * (5 * std::int64_t{p.d_ff} + 2 * std::int64_t{d_model});
}

}  // namespace plait

// ==== plait/models/jamba/config.hpp
// The published Jamba configurations, in `plait::configs`.

namespace plait::configs {

namespace detail {
// Functions, because lambdas in a variable template crash nvcc 13.0.
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

/// `jamba<l, a, m, e, n, K>`: the paper's notation, with the widths of v0.1. With n = 1 there is no
/// router and every feed-forward is dense.
/// Shapes: d_model 4096, d_ff 14336, 32 heads on 8 key-value heads; with n = 1 the sparse slot is
///   `none`
/// Errors: none; policy/check.hpp and the layers have the rules
/// Source: Lieber et al., arXiv:2403.19887; Jamba Team, arXiv:2408.12570
/// Test: tests/unit/policy/policy_test.cpp, tests/unit/models/jamba/checkpoint_config_test.cpp
template <int l, int a, int m, int e, int n, int K, int blocks = 4>
inline constexpr auto jamba = detail::jamba_with(interleave{.blocks = blocks,
                                                            .layers_per_block = l,
                                                            .attend = a,
                                                            .recur = m,
                                                            .moe_every = n == 1 ? 0 : e},
                                                 detail::jamba_experts<n, K>());

/// Jamba v0.1 (Lieber et al., arXiv:2403.19887): 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2;
/// 51.6 B parameters, 12.1 B active.
inline constexpr auto jamba_v0_1 = jamba<8, 1, 7, 2, 16, 2>;

/// Jamba-1.5-Mini (arXiv:2408.12570) and Jamba2-Mini have v0.1's shape.
inline constexpr auto jamba_1_5_mini = jamba_v0_1;

/// Jamba-1.5-Large: 9 blocks, d_model 8192. Widths are the paper's; d_ff gives the published 398 B
/// parameters and 94 B active.
inline constexpr auto jamba_1_5_large = [] {
  auto c = jamba<8, 1, 7, 2, 16, 2, 9>;
  c.d_model = 8192;
  c.attention.num_heads = 64;
  c.recurrent.dt_rank = 512;
  c.dense.d_ff = c.sparse.d_ff = 24576;
  return c;
}();

/// Jamba-Reasoning-3B: 26 Mamba and 2 attention layers, dense, tied.
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
// The published Mixtral configuration, in `plait::configs`.

namespace plait::configs {

/// Mixtral-8x7B: attention and a mixture of experts in every layer, rotary positions.
/// Shapes: 32 layers; 32 heads on 8 key-value heads, theta 1e6; 2 of 8 experts, weights
///   renormalised; d_model 4096; 46.7 B parameters
/// Source: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/policy/policy_test.cpp
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

// ==== plait/policy/rule.hpp
// Rules of a class template: static assertions that are all reported at once.
// Errors: the sentence of the rule, where the condition does not hold; it begins with the name of
//   the library
// Cost: none at run time, the members are empty
// Test: tests/checks/compile_fail/rules.cpp, whose last cases break several rules at once

/// One rule of a class template, as a member: a static_assert in a class of its own. clang stops
/// instantiating a class at its first failed assertion; a class per rule reports every broken rule.
#define PLAIT_RULE(name, condition, sentence) \
  template <bool Holds>                       \
  struct name##_rule {                        \
    static_assert(Holds, sentence);           \
  };                                          \
  [[no_unique_address]] name##_rule<(condition)> name##_holds

// ==== plait/policy/check.hpp
// The rules of an architecture as a whole, in addition to the rules of each layer. `model` names
// `check<C>`, so that instantiating the model's type reports every broken rule.

namespace plait {

/// The rules of a schedule; specialise it for a schedule of your own.
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

/// Whether every layer has a mixer or a feed-forward.
template <class Architecture>
constexpr bool every_layer_has_a_sublayer(Architecture const& c) {
  bool result = true;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&]<class M, class F>(M const&, F const&) {
      result = result && !(std::is_same_v<M, none> && std::is_same_v<F, none>);
    });
  return result;
}

/// Whether rope_theta is positive where a mixer has rotary positions.
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

/// The rules of a schedule, as check_schedule states them.
template <auto C>
struct schedule_rules {};  // an architecture without the member `layers`
template <auto C>
requires requires { C.layers; }
struct schedule_rules<C> {
  [[no_unique_address]]
  typename check_schedule<std::remove_const_t<decltype(C.layers)>>::template rules<C.layers>
      rules;
};
}  // namespace policies

/// Static assertions on an architecture, one sentence each. They hold for zeros, too: an omitted
/// hyperparameter is 0.
/// Equation: a model of several blocks needs l mod (a + m) = 0 and l mod e = 0, so that its blocks
///   are equal; a single block may have any l
/// Errors:
///   - `plait: a model needs at least one layer`: num_layers() of an architecture of your own is
///     not positive
///   - `plait: rotary positions need rope_theta, their base`: a mixer of the architecture rotates,
///     and `rope_theta` is absent or not positive
/// Cost: at compile time
/// Test: tests/checks/compile_fail/rules.cpp (each rule alone),
///   tests/checks/compile_fail/misuse.cpp
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

// ==== plait/policy/precision.hpp
// The element type of each kind of tensor: a template argument of execution policies, an argument
// of the counts.

namespace plait {

/// An element type.
enum class dtype : unsigned char { f32, bf16, int8 };

/// Element types of weights, experts, keys and values (`kv`), and of the activations in products
/// (`compute`).
/// Equation: an int8 activation is an integer from -127 to 127 times the maximum magnitude of its
///   row / 127
/// Shapes: norms, router, A, D, biases and recurrent state are f32 in every precision
/// Errors: none; exec/cpu.hpp refuses int8 keys and values
/// Test: tests/unit/policy/policy_test.cpp
struct precision {
  dtype weights = dtype::f32;
  dtype experts = dtype::f32;
  dtype compute = dtype::f32;
  dtype kv = dtype::f32;
  friend constexpr bool operator==(precision const&, precision const&) = default;
};

/// Everything in f32.
inline constexpr precision f32{};
/// Weights, keys and values in bf16.
inline constexpr precision bf16{.weights = dtype::bf16, .experts = dtype::bf16, .kv = dtype::bf16};
/// Weights in int8, keys and values in bf16.
inline constexpr precision int8{.weights = dtype::int8, .experts = dtype::int8, .kv = dtype::bf16};
/// Experts in int8, everything else in bf16.
inline constexpr precision experts_int8{
    .weights = dtype::bf16, .experts = dtype::int8, .kv = dtype::bf16};

/// The same storage with activations rounded to `compute` in products: with_compute(int8,
/// dtype::int8) is the q8_0 of other engines.
constexpr precision with_compute(precision p, dtype compute) {
  p.compute = compute;
  return p;
}

/// The type to which activations are rounded in products with weights stored as `stored`. Sums are
/// always f32.
///
/// - compute f32: f32, no rounding
/// - compute bf16: bf16 for bf16 weights, otherwise f32
/// - compute int8: the type of the weights; int8 has one scale per token
constexpr dtype activation_type(dtype stored, dtype compute) {
  if (compute == dtype::int8) return stored;
  return compute == dtype::bf16 && stored == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

/// Bytes of one value.
constexpr int value_bytes(dtype t) { return t == dtype::f32 ? 4 : t == dtype::bf16 ? 2 : 1; }

/// Bytes of a matrix [rows, cols]. int8 has a 16-bit scale per block of 32 columns:
/// rows (cols + 2 ceil(cols / 32)) bytes.
constexpr std::int64_t matrix_bytes(dtype t, std::int64_t rows, std::int64_t cols) {
  return rows * (cols * value_bytes(t) + (t == dtype::int8 ? 2 * ((cols + 31) / 32) : 0));
}

}  // namespace plait

// ==== plait/policy/count.hpp
// Costs of an architecture without a model: parameters, bytes and operations, at compile time or at
// run time.

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
