// Between a Jamba's config.json and types: the source of an architecture, the test that one is the
// checkpoint's, and the way back.
// Equation: `architecture_source` is the text of a header that defines NAME::config and
//   NAME::model; what equals a policy's default is left out. Blocks are as long as the least common
//   multiple of the two periods, where that divides the number of layers. `require_same` compares
//   sizes, then the hyperparameters of every slot that is not empty, then layer by layer what sits
//   where,
//   however the pattern is spelt. `jamba_keys` is null where attention or experts do not come one
//   at a time in a period; positions and gate weights, which its keys cannot say, are for
//   `config_of` to find by reading again
// Shapes: `jamba_keys` has max_position_embeddings 262144, use_mamba_kernels false, and for a slot
//   that is not there numbers that nothing is made of
// Errors: beside these, those of architecture_check.hpp and the name's of architecture_source.hpp
//   - `describes a Jamba, but this model was built with …`: something that Jamba has not, or
//     without something that it has
// Cost: a few operations a layer
// Source: transformers' JambaForCausalLM, whose keys and names these are
// Test: tests/unit/models/jamba/checkpoint_config_test.cpp, tests/unit/io/family_test.cpp,
//   tests/checks/fuzz/config.cpp, tests/checks/tools/plait_config_test.sh,
//   tests/unit/io/transformers_roundtrip.sh for what transformers
//   makes of the keys
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_check.hpp>
#include <plait/io/architecture/architecture_keys.hpp>
#include <plait/io/architecture/architecture_source.hpp>
#include <plait/io/architecture/placement.hpp>
#include <plait/io/architecture/tensor_names.hpp>
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

/// A header that defines NAME::config, the architecture of `c` as a value, and
/// NAME::model<Execution>. What equals the policies' defaults is left out, so that a published
/// checkpoint gives the published configuration.
inline std::string architecture_source(jamba_config const& c,
                                       std::string_view name = "checkpoint_architecture") {
  repeating_run const attends{
      .period = c.attn_layer_period, .first = c.attn_layer_offset, .count = 1};
  std::optional<repeating_run> routes;
  if (!c.dense())
    routes =
        repeating_run{.period = c.expert_layer_period, .first = c.expert_layer_offset, .count = 1};

  initializer_text attention, recurrent, dense, sparse;
  attention.add("num_heads", c.num_attention_heads).add("num_kv_heads", c.num_key_value_heads);
  if (std::int64_t{c.head_dim} * c.num_attention_heads != c.hidden_size)
    attention.add("head_dim", c.head_dim);
  recurrent.add("d_state", c.mamba_d_state)
      .add("d_conv", c.mamba_d_conv)
      .add("expand", c.mamba_expand)
      .add("dt_rank", c.mamba_dt_rank);
  plait::mamba const usual;
  if (c.mamba_conv_bias != usual.conv_bias) recurrent.add("conv_bias", c.mamba_conv_bias);
  if (c.mamba_proj_bias != usual.proj_bias) recurrent.add("proj_bias", c.mamba_proj_bias);
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

/// The comparisons that are Jamba's own.
class jamba_check : public architecture_check {
 public:
  explicit jamba_check(jamba_config const& c) : architecture_check(c.file), c_(c) {}

  void jamba_has(bool condition, char const* built) const {
    if (!condition)
      fail(c_.file, std::string("describes a Jamba, but this model was built with ") + built);
  }

  // What no config.json of a Jamba can say, of one policy, whether it is placed anywhere or not.
  template <class Policy>
  void kind_of(Policy const& p) const {
    if constexpr (std::is_same_v<Policy, attention>)
      jamba_has(p.positions == positions::none, "rotary positions, which Jamba has not");
    else if constexpr (std::is_same_v<Policy, mamba>)
      jamba_has(p.inner_norms, "Mamba layers without inner norms, which Jamba has");
    else if constexpr (std::is_same_v<Policy, moe>)
      jamba_has(c_.dense() || p.weights == router_weights::as_they_are,
                "renormalised expert weights, which Jamba has not");
  }

  // The hyperparameters of one policy, whether it is placed anywhere or not, unless it was left
  // empty. A policy that Jamba does not have can only be misplaced.
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
    if (c_.dense()) return;  // then it must not be placed, and what it would be does not matter
    same("intermediate_size", c_.intermediate_size, p.d_ff);
    same("num_experts", c_.num_experts, p.num_experts);
    same("num_experts_per_tok", c_.num_experts_per_tok, p.top_k);
  }
  template <class Policy>
  void hyperparameters_of(Policy const&, int) const {}

  template <class Mixer, class Ffn>
  void placement(int layer, Mixer const&, Ffn const&) const {
    bool const attends = c_.attends(layer), routes = c_.routes(layer);
    if (!(attends ? std::is_same_v<Mixer, attention> : std::is_same_v<Mixer, mamba>))
      misplaced("attn_layer_period is " + std::to_string(c_.attn_layer_period) +
                    " and attn_layer_offset " + std::to_string(c_.attn_layer_offset),
                layer, attends ? "attention" : "mamba", component_text<Mixer>());
    if (!(routes ? std::is_same_v<Ffn, moe> : std::is_same_v<Ffn, mlp>))
      misplaced(
          "num_experts is " + std::to_string(c_.num_experts) +
              (c_.dense()
                   ? std::string()
                   : ", expert_layer_period " + std::to_string(c_.expert_layer_period) +
                         " and expert_layer_offset " + std::to_string(c_.expert_layer_offset)),
          layer, routes ? "moe" : "mlp", component_text<Ffn>());
  }

 private:
  [[noreturn]] void misplaced(std::string const& keys, int layer, char const* found,
                              char const* built) const {
    fail(c_.file, keys + ", which puts " + found + " in layer " + std::to_string(layer) +
                      ", but this model was built with " + built + " there");
  }

  jamba_config const& c_;
};

/// Throws plait::error unless architecture `a` (a hybrid, or any type with the same members) is the
/// one config.json describes: sizes, hyperparameters of every slot that is not `none`, and layer by
/// layer
/// what sits where, however the pattern is spelt.
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
  check.jamba_has(std::is_same_v<std::remove_cvref_t<decltype(a.norm)>, rms_norm>,
                  "another norm than RMS norm, which Jamba has");
  both([&](auto const& policy) { check.kind_of(policy); });
  check.sizes(c, a);
  both([&](auto const& policy) { check.hyperparameters_of(policy, a.d_model); });
  for (int i = 0; i < c.num_hidden_layers; ++i)
    visit_layer(a, i, [&](auto const& mixer, auto const& ffn) { check.placement(i, mixer, ffn); });
}

/// The keys of config.json that describe an architecture; null for one that is no Jamba. What
/// Jamba's keys cannot say is found by reading them again (family.hpp).
template <class Architecture>
nlohmann::json jamba_keys(Architecture const& a) {
  std::vector<bool> attends, routes;
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const&, Ffn const&) {
      attends.push_back(std::is_same_v<Mixer, attention>);
      routes.push_back(std::is_same_v<Ffn, moe>);
    });
  auto const attention_run = find_run(attends), expert_run = find_run(routes);
  if (!attention_run || attention_run->count > 1 || !expert_run || expert_run->count > 1)
    return nullptr;

  nlohmann::json keys = hugging_face_keys(a);
  keys["architectures"] = {"JambaForCausalLM"};
  keys["model_type"] = "jamba";
  keys["max_position_embeddings"] = 262144;
  keys["use_mamba_kernels"] = false;  // with true, older transformers do not run on a CPU
  keys["attn_layer_period"] = attention_run->period;
  keys["attn_layer_offset"] = attention_run->first;
  // of a slot that is not there: numbers that nothing is made of, but that are read
  keys["num_attention_heads"] = keys["num_key_value_heads"] = keys["num_experts"] =
      keys["num_experts_per_tok"] = 1;
  auto const say = [&]<class Policy>(Policy const& p) {
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
  std::apply([&](auto const&... policy) { (say(policy), ...); }, a.mixers());
  std::apply([&](auto const&... policy) { (say(policy), ...); }, a.ffns());
  return keys;
}

/// Hugging Face's JambaForCausalLM (io/family.hpp); its names are in tensor_names.hpp.
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
