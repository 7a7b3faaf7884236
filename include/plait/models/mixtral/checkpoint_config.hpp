// The config.json of a Mixtral checkpoint.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>

#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The values of config.json under its own names, with published defaults for missing keys; null is
/// resolved.
/// Equation: rope_theta is that of rope_scaling, else of rope_parameters, else the top-level key,
///   else 1e6; num_experts takes precedence over num_local_experts; heads as in config_reader.hpp
/// Shapes: widths in values; num_local_experts at least 2, head_dim even
/// Errors: those of config_reader.hpp, and:
///   - `expected an object or null`: this and the next three after `KEY is VALUE;`: rope_scaling or
///     rope_parameters
///   - `plait has rotary positions of type "default"`: rope_type or type
///   - `plait has rotary positions of whole heads, without scaling`: any other key of rope_scaling
///     or rope_parameters
///   - `plait has rotary positions of whole heads, expected 1`: partial_rotary_factor
/// Cost: one lookup per key
/// Source: transformers' MixtralConfig
/// Test: tests/unit/models/mixtral/checkpoint_test.cpp
struct mixtral_config {
  std::string file;  ///< for error messages
  int vocab_size = 32000;
  int hidden_size = 4096;
  int intermediate_size = 14336;
  int num_hidden_layers = 32;
  int num_attention_heads = 32;
  int num_key_value_heads = 8;
  int head_dim = 128;
  int num_local_experts = 8;
  int num_experts_per_tok = 2;
  bool tie_word_embeddings = false;
  float rms_norm_eps = 1e-5f;
  float rope_theta = 1e6f;
  std::vector<int> eos_token_id{2};
};

/// The base of the rotary positions: a top-level rope_theta (transformers 4), or with precedence
/// that of rope_parameters (transformers 5) or of rope_scaling, the older name of rope_parameters.
/// Scaled and partial rotary positions are refused.
inline float read_rope_theta(config_reader const& in, std::string const& file, float theta) {
  in.read_positive("rope_theta", theta);
  auto const nonempty_object = [&](char const* key) {
    auto const* const v = in.find_value(key);
    if (v != nullptr && !v->is_object()) in.refuse(key, *v, "expected an object or null");
    return v != nullptr && !v->empty() ? v : nullptr;
  };
  auto const* const scaling = nonempty_object("rope_scaling");
  auto const* const parameters = nonempty_object("rope_parameters");
  if (scaling == nullptr && parameters == nullptr) return theta;
  nlohmann::json const& object = scaling != nullptr ? *scaling : *parameters;
  config_reader const inside(object, file,
                             scaling != nullptr ? "rope_scaling." : "rope_parameters.");
  for (char const* const key : {"rope_type", "type"})
    if (auto const* const type = inside.find(key); type != nullptr && *type != "default")
      inside.refuse(key, *type, "plait has rotary positions of type \"default\"");
  for (auto const& [key, value] : object.get_ref<nlohmann::json::object_t const&>()) {
    if (key == "partial_rotary_factor" && value == 1) continue;
    if (key != "rope_type" && key != "type" && key != "rope_theta")
      inside.refuse(printable(key).c_str(), value,
                    "plait has rotary positions of whole heads, without scaling");
  }
  inside.read_positive("rope_theta", theta);
  return theta;
}

/// Reads a Mixtral's config.json; throws plait::error with file, key and value for one that plait
/// cannot run.
inline mixtral_config parse_mixtral_config(config_file const& from) {
  std::string const& file = from.file();
  config_reader const in(from);
  mixtral_config c;
  c.file = file;

  in.require_model_type("mixtral");
  in.require_silu_over_all_keys();
  in.read("vocab_size", c.vocab_size, 1);
  in.read("hidden_size", c.hidden_size, 1);
  in.read("intermediate_size", c.intermediate_size, 1);
  in.read("num_hidden_layers", c.num_hidden_layers, 1);
  in.read_heads(c);
  if (c.head_dim % 2 != 0)
    fail(file, "head_dim is {}; rotary positions rotate pairs of values, expected an even number",
         c.head_dim);
  if (auto const* const factor = in.find_value("partial_rotary_factor");
      factor != nullptr && *factor != 1)
    in.refuse("partial_rotary_factor", *factor,
              "plait has rotary positions of whole heads, expected 1");

  in.read("num_local_experts", c.num_local_experts, 1);
  in.read("num_experts", c.num_local_experts, 1);  // takes precedence, as in transformers
  if (c.num_local_experts == 1) fail(file, "num_local_experts is 1; expected at least 2");
  in.read("num_experts_per_tok", c.num_experts_per_tok, 1);
  if (c.num_experts_per_tok > c.num_local_experts)
    fail(file, "num_experts_per_tok is {}, more than num_local_experts, {}", c.num_experts_per_tok,
         c.num_local_experts);

  in.read("tie_word_embeddings", c.tie_word_embeddings);
  in.read_positive("rms_norm_eps", c.rms_norm_eps);
  c.rope_theta = read_rope_theta(in, file, c.rope_theta);
  in.read_ids("eos_token_id", c.eos_token_id);
  return c;
}

inline mixtral_config parse_mixtral_config(std::string_view text, std::string const& file) {
  return parse_mixtral_config(config_file(text, file));
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
