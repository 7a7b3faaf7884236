// The Jamba family of checkpoints: config.json from and to architectures, and tensor names.
// Equation: blocks of a generated schedule have the least common multiple of the two periods as
//   their length if that divides the number of layers. `require_same` compares sizes, the
//   hyperparameters of every slot that is not empty, and the components of every layer, whatever
//   the schedule's spelling
// Errors: those of architecture_check.hpp, those of the name (source_text.hpp), and:
//   - `describes a Jamba, but this model was built with …`: a component that Jamba does not have,
//     or without a feature that it has
// Cost: a few operations per layer
// Source: transformers' JambaForCausalLM, whose keys and names these are
// Test: tests/unit/models/jamba/checkpoint_config_test.cpp, tests/unit/io/family_test.cpp,
//   tests/checks/fuzz/config.cpp, tests/checks/tools/plait_config_test.sh,
//   tests/unit/io/transformers_roundtrip.sh
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_check.hpp>
#include <plait/io/architecture/architecture_keys.hpp>
#include <plait/io/architecture/layer_pattern.hpp>
#include <plait/io/architecture/source_text.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/models/jamba/checkpoint_config.hpp>

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A header that defines NAME::config, the architecture of `c`, and NAME::model<Execution>. Members
/// that equal the policies' defaults are left out.
inline std::string architecture_source(jamba_config const& c,
                                       std::string_view name = "checkpoint_architecture") {
  repeating_run const attends{
      .period = c.attn_layer_period, .first = c.attn_layer_offset, .count = 1};
  std::optional<repeating_run> routes;
  if (!c.dense())
    routes =
        repeating_run{.period = c.expert_layer_period, .first = c.expert_layer_offset, .count = 1};

  initializer_text attention;
  initializer_text recurrent;
  initializer_text dense;
  initializer_text sparse;
  attention.add("num_heads", c.num_attention_heads).add("num_kv_heads", c.num_key_value_heads);
  if (std::int64_t{c.head_dim} * c.num_attention_heads != c.hidden_size)
    attention.add("head_dim", c.head_dim);
  recurrent.add("d_state", c.mamba_d_state)
      .add("d_conv", c.mamba_d_conv)
      .add("expand", c.mamba_expand)
      .add("dt_rank", c.mamba_dt_rank);
  plait::mamba const defaults;
  if (c.mamba_conv_bias != defaults.conv_bias) recurrent.add("conv_bias", c.mamba_conv_bias);
  if (c.mamba_proj_bias != defaults.proj_bias) recurrent.add("proj_bias", c.mamba_proj_bias);
  dense.add("d_ff", c.intermediate_size);
  sparse.add("d_ff", c.intermediate_size)
      .add("num_experts", c.num_experts)
      .add("top_k", c.num_experts_per_tok);

  hybrid_text out(std::string("plait::attention, plait::mamba, plait::mlp, ") +
                  (c.dense() ? "plait::none" : "plait::moe"));
  out.line("d_model", c.hidden_size).line("vocab_size", c.vocab_size);
  out.line("layers", interleave_text(interleave_of(c.num_hidden_layers, attends, routes)));
  out.line("attention", attention.str())
      .line("recurrent", recurrent.str())
      .line("dense", dense.str());
  if (!c.dense()) out.line("sparse", sparse.str());
  out.reals(c.rms_norm_eps, 0, c.tie_word_embeddings);
  return header_text(name, out.str());
}

/// The comparisons of a Jamba's config.json with an architecture.
class jamba_check : public architecture_check {
 public:
  explicit jamba_check(jamba_config const& c) : architecture_check(c.file), c_(c) {}

  /// Throws plait::error unless `condition`: a property of every Jamba, in place of which the model
  /// has `built`.
  void require(bool condition, char const* built) const {
    if (!condition) fail(c_.file, "describes a Jamba, but this model was built with {}", built);
  }

  /// Options of a policy that are fixed in Jamba, whether or not a layer uses the policy.
  template <class Policy>
  void fixed_options(Policy const& p) const {
    if constexpr (std::is_same_v<Policy, attention>)
      require(p.positions == positions::none, "rotary positions, which Jamba does not have");
    else if constexpr (std::is_same_v<Policy, mamba>)
      require(p.inner_norms, "Mamba layers without inner norms, which Jamba has");
    else if constexpr (std::is_same_v<Policy, moe>)
      require(c_.dense() || p.weights == router_weights::as_they_are,
              "renormalised expert weights, which Jamba does not have");
  }

  /// The hyperparameters of a policy, whether or not a layer uses it, unless it is empty. A policy
  /// that Jamba does not have is refused by its placement.
  void hyperparameters_of(attention const& p, int d_model) const {
    if (p.num_heads != 0) heads(c_, p, d_model);
  }
  void hyperparameters_of(mamba const& p, int d_model) const {
    same("mamba_d_state", c_.mamba_d_state, p.d_state);
    same("mamba_d_conv", c_.mamba_d_conv, p.d_conv);
    same("mamba_expand", c_.mamba_expand, p.expand);
    same("mamba_dt_rank", c_.mamba_dt_rank, p.rank(d_model));
    same("mamba_conv_bias", c_.mamba_conv_bias, p.conv_bias);
    same("mamba_proj_bias", c_.mamba_proj_bias, p.proj_bias);
  }
  void hyperparameters_of(mlp const& p, int) const {
    if (p.d_ff != 0) same("intermediate_size", c_.intermediate_size, p.d_ff);
  }
  void hyperparameters_of(moe const& p, int) const {
    if (c_.dense()) return;  // no layer may use it
    same("intermediate_size", c_.intermediate_size, p.d_ff);
    same("num_experts", c_.num_experts, p.num_experts);
    same("num_experts_per_tok", c_.num_experts_per_tok, p.top_k);
  }
  template <class Policy>
  void hyperparameters_of(Policy const&, int) const {}

  /// The components of a layer.
  template <class Mixer, class Ffn>
  void placement(int layer, Mixer const&, Ffn const&) const {
    bool const attends = c_.attends(layer), routes = c_.routes(layer);
    if (!(attends ? std::is_same_v<Mixer, attention> : std::is_same_v<Mixer, mamba>))
      misplaced(sentence("attn_layer_period is {} and attn_layer_offset {}", c_.attn_layer_period,
                         c_.attn_layer_offset),
                layer, attends ? "attention" : "mamba", component_text<Mixer>());
    if (!(routes ? std::is_same_v<Ffn, moe> : std::is_same_v<Ffn, mlp>)) {
      std::string keys = sentence("num_experts is {}", c_.num_experts);
      if (!c_.dense())
        keys += sentence(", expert_layer_period {} and expert_layer_offset {}",
                         c_.expert_layer_period, c_.expert_layer_offset);
      misplaced(keys, layer, routes ? "moe" : "mlp", component_text<Ffn>());
    }
  }

 private:
  [[noreturn]] void misplaced(std::string const& keys, int layer, char const* found,
                              char const* built) const {
    fail(c_.file, "{}, which puts {} in layer {}, but this model was built with {} there", keys,
         found, layer, built);
  }

  jamba_config const& c_;
};

/// Throws plait::error unless config.json describes architecture `a`, a hybrid or any type with the
/// same members.
template <class Architecture>
void require_same(jamba_config const& c, Architecture const& a) {
  jamba_check const check(c);
  auto const each = [&](auto const& policies, auto const& visit) {
    std::apply([&](auto const&... policy) { (visit(policy), ...); }, policies);
  };
  auto const both = [&](auto const& visit) {
    each(a.mixers(), visit);
    each(a.ffns(), visit);
  };
  check.require(std::is_same_v<std::remove_cvref_t<decltype(a.norm)>, rms_norm>,
                "another norm than RMS norm, which Jamba has");
  both([&](auto const& policy) { check.fixed_options(policy); });
  check.sizes(c, a);
  both([&](auto const& policy) { check.hyperparameters_of(policy, a.d_model); });
  for (int i = 0; i < c.num_hidden_layers; ++i)
    visit_layer(a, i, [&](auto const& mixer, auto const& ffn) { check.placement(i, mixer, ffn); });
}

/// The keys of config.json for an architecture; null unless attention and experts each occur once
/// per period. Options without a key, such as rotary positions, are for config_of to find by
/// reading the keys again (family.hpp).
template <class Architecture>
nlohmann::json jamba_keys(Architecture const& a) {
  std::vector<bool> attends;
  std::vector<bool> routes;
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const&, Ffn const&) {
      attends.push_back(std::is_same_v<Mixer, attention>);
      routes.push_back(std::is_same_v<Ffn, moe>);
    });
  auto const attention_run = find_run(attends);
  auto const expert_run = find_run(routes);
  if (!attention_run || attention_run->count > 1 || !expert_run || expert_run->count > 1)
    return nullptr;

  nlohmann::json keys = hugging_face_keys(a);
  keys["architectures"] = {"JambaForCausalLM"};
  keys["model_type"] = "jamba";
  keys["max_position_embeddings"] = 262144;
  keys["use_mamba_kernels"] = false;  // with true, older transformers do not run on a CPU
  keys["attn_layer_period"] = attention_run->period;
  keys["attn_layer_offset"] = attention_run->first;
  // Placeholders for empty slots: readers require these keys.
  for (char const* const key :
       {"num_attention_heads", "num_key_value_heads", "num_experts", "num_experts_per_tok"})
    keys[key] = 1;
  auto const add_keys = [&]<class Policy>(Policy const& p) {
    if constexpr (std::is_same_v<Policy, attention>) {
      if (p.num_heads == 0) return;
      keys["num_attention_heads"] = p.num_heads;
      keys["num_key_value_heads"] = p.num_kv_heads;
      if (p.dim(a.d_model) * p.num_heads != a.d_model) keys["head_dim"] = p.dim(a.d_model);
    } else if constexpr (std::is_same_v<Policy, mamba>) {
      keys["mamba_d_state"] = p.d_state;
      keys["mamba_d_conv"] = p.d_conv;
      keys["mamba_expand"] = p.expand;
      keys["mamba_dt_rank"] = p.rank(a.d_model);
      keys["mamba_conv_bias"] = p.conv_bias;
      keys["mamba_proj_bias"] = p.proj_bias;
    } else if constexpr (std::is_same_v<Policy, mlp>) {
      if (p.d_ff != 0) keys["intermediate_size"] = p.d_ff;
    } else if constexpr (std::is_same_v<Policy, moe>) {
      if (expert_run->count == 0) return;
      keys["intermediate_size"] = p.d_ff;
      keys["num_experts"] = p.num_experts;
      keys["num_experts_per_tok"] = p.top_k;
      keys["expert_layer_period"] = expert_run->period;
      keys["expert_layer_offset"] = expert_run->first;
    }
  };
  std::apply([&](auto const&... policy) { (add_keys(policy), ...); }, a.mixers());
  std::apply([&](auto const&... policy) { (add_keys(policy), ...); }, a.ffns());
  return keys;
}

/// Hugging Face's JambaForCausalLM (io/family.hpp), with the tensor names of tensor_names.hpp.
struct jamba_family {
  static constexpr char const* model_type = "jamba";
  using config = jamba_config;
  static config parse(config_file const& c) { return parse_jamba_config(c); }
  template <class Architecture>
  static nlohmann::json keys(Architecture const& a) {
    return jamba_keys(a);
  }
  static std::vector<std::string> stems(int layer, std::string_view part,
                                        std::string_view component, bool tied) {
    return {jamba_stem(layer, part, component, tied)};
  }
  static constexpr auto leaf = &plain_leaf;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
