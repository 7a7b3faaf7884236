// The Mixtral family of checkpoints: config.json from and to architectures, and tensor names.
// Equation: every layer has rotary attention and renormalised experts; slots that no layer uses are
//   not compared
// Shapes: names of layer i, after "model.layers.<i>.": "self_attn.<q|k|v|o>_proj.weight",
//   "block_sparse_moe.gate.weight" (the router), "block_sparse_moe.experts.<e>." with "w1.weight"
//   (gate), "w3.weight" (up) and "w2.weight" (down), "input_layernorm.weight",
//   "post_attention_layernorm.weight"; "mlp." is read in place of "block_sparse_moe." too. The
//   final norm is "model.norm.weight"
// Errors: those of architecture_check.hpp, and those of the name (source_text.hpp)
// Cost: a few operations per layer
// Source: transformers' MixtralForCausalLM; Jiang et al., arXiv:2401.04088
// Test: tests/unit/models/mixtral/checkpoint_test.cpp, tests/unit/io/save_test.cpp,
//   tests/unit/io/golden_test.cpp, tests/unit/io/transformers_roundtrip.sh
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_check.hpp>
#include <plait/io/architecture/architecture_keys.hpp>
#include <plait/io/architecture/layer_pattern.hpp>
#include <plait/io/architecture/source_text.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/models/mixtral/checkpoint_config.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A header that defines NAME::config and NAME::model<Execution>, as configs::mixtral_8x7b.
inline std::string architecture_source(mixtral_config const& c,
                                       std::string_view name = "checkpoint_architecture") {
  repeating_run const every_layer{.period = 1, .first = 0, .count = 1};
  initializer_text attention;
  initializer_text sparse;
  attention.add("num_heads", c.num_attention_heads).add("num_kv_heads", c.num_key_value_heads);
  if (std::int64_t{c.head_dim} * c.num_attention_heads != c.hidden_size)
    attention.add("head_dim", c.head_dim);
  attention.add("positions", std::string("plait::positions::rotary"));
  sparse.add("d_ff", c.intermediate_size)
      .add("num_experts", c.num_local_experts)
      .add("top_k", c.num_experts_per_tok);
  sparse.add("weights", std::string("plait::router_weights::renormalised"));

  hybrid_text out("plait::attention, plait::none, plait::none, plait::moe");
  out.line("d_model", c.hidden_size).line("vocab_size", c.vocab_size);
  out.line("layers", interleave_text(interleave_of(c.num_hidden_layers, every_layer, every_layer)));
  out.line("attention", attention.str()).line("sparse", sparse.str());
  out.reals(c.rms_norm_eps, c.rope_theta, c.tie_word_embeddings);
  return header_text(name, out.str());
}

/// Throws plait::error unless config.json describes architecture `a`.
template <class Architecture>
void require_same(mixtral_config const& c, Architecture const& a) {
  architecture_check const check(c.file);
  auto const require = [&](bool condition, int layer, char const* expected, char const* built) {
    if (!condition)
      fail(c.file,
           "model_type is \"mixtral\", whose layers have {}, but this model was built with {} in "
           "layer {}",
           expected, built, layer);
  };
  if (!std::is_same_v<std::remove_cvref_t<decltype(a.norm)>, rms_norm>)
    fail(c.file,
         "model_type is \"mixtral\", but this model was built with another norm than RMS norm");
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const& mixer, Ffn const& ffn) {
      if constexpr (std::is_same_v<Mixer, attention>)
        require(mixer.positions == positions::rotary, i, "rotary attention",
                "attention without positions");
      else
        require(false, i, "rotary attention", component_text<Mixer>());
      if constexpr (std::is_same_v<Ffn, moe>)
        require(ffn.weights == router_weights::renormalised, i, "renormalised experts",
                "experts whose weights are not renormalised");
      else
        require(false, i, "renormalised experts", component_text<Ffn>());
    });
  check.sizes(c, a);
  check.same("rope_theta", c.rope_theta, rope_theta_of(a));
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const& mixer, Ffn const& ffn) {
      if constexpr (std::is_same_v<Mixer, attention>) check.heads(c, mixer, a.d_model);
      if constexpr (std::is_same_v<Ffn, moe>) {
        check.same("intermediate_size", c.intermediate_size, ffn.d_ff);
        check.same("num_local_experts", c.num_local_experts, ffn.num_experts);
        check.same("num_experts_per_tok", c.num_experts_per_tok, ffn.top_k);
      }
    });
}

/// The keys of config.json for an architecture; null if a layer differs from Mixtral's, or without
/// a vocabulary.
template <class Architecture>
nlohmann::json mixtral_keys(Architecture const& a) {
  bool is_mixtral = a.num_layers() > 0 && a.vocab_size > 0;
  nlohmann::json keys = hugging_face_keys(a);
  for (int i = 0; i < a.num_layers() && is_mixtral; ++i)
    visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const& mixer, Ffn const& ffn) {
      if constexpr (std::is_same_v<Mixer, attention> && std::is_same_v<Ffn, moe>) {
        keys["num_attention_heads"] = mixer.num_heads;
        keys["num_key_value_heads"] = mixer.num_kv_heads;
        keys["head_dim"] = nullptr;
        if (mixer.dim(a.d_model) * mixer.num_heads != a.d_model)
          keys["head_dim"] = mixer.dim(a.d_model);
        keys["intermediate_size"] = ffn.d_ff;
        keys["num_local_experts"] = ffn.num_experts;
        keys["num_experts_per_tok"] = ffn.top_k;
      } else {
        is_mixtral = false;
      }
    });
  if (!is_mixtral) return nullptr;
  keys["architectures"] = {"MixtralForCausalLM"};
  keys["model_type"] = "mixtral";
  keys["max_position_embeddings"] = 131072;
  keys["sliding_window"] = nullptr;
  // transformers 4 reads the first, 5 the second.
  keys["rope_theta"] = number_of(rope_theta_of(a));
  keys["rope_parameters"] = {{"rope_theta", number_of(rope_theta_of(a))}, {"rope_type", "default"}};
  return keys;
}

/// Hugging Face's MixtralForCausalLM (io/family.hpp).
struct mixtral_family {
  static constexpr char const* model_type = "mixtral";
  using config = mixtral_config;
  static config parse(config_file const& c) { return parse_mixtral_config(c); }
  template <class Architecture>
  static nlohmann::json keys(Architecture const& a) {
    return mixtral_keys(a);
  }
  /// transformers 5 calls block_sparse_moe mlp in memory, and saves either name.
  static std::vector<std::string> stems(int layer, std::string_view part, std::string_view,
                                        bool tied) {
    if (part == "final_norm") return {"model.norm."};
    std::string const prefix = sentence("model.layers.{}.", layer);
    if (part == "ffn_norm") return {prefix + "post_attention_layernorm."};
    if (part == "ffn") return {prefix + "block_sparse_moe.", prefix + "mlp."};
    return {jamba_stem(layer, part, "self_attn", tied)};
  }
  static std::string leaf(std::string_view part, std::string_view tensor) {
    if (part == "ffn" && tensor == "router") return "gate.weight";
    if (part == "ffn" && tensor == "gate_proj") return "w1.weight";
    if (part == "ffn" && tensor == "up_proj") return "w3.weight";
    if (part == "ffn" && tensor == "down_proj") return "w2.weight";
    return plain_leaf(part, tensor);
  }
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
