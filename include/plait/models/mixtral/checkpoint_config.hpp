// config.json of a Mixtral checkpoint as numbers, with the published defaults and nothing left to
// resolve.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_file.hpp>

#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// What config.json says, under its own names, with the published defaults for missing keys and
/// nothing left to resolve.
/// Equation: the base of the positions is rope_theta inside rope_scaling, or else inside
///   rope_parameters, or else among the keys, or else 1e6; num_experts counts before
///   num_local_experts; heads as config_file.hpp has them
/// Shapes: widths in values; num_local_experts at least 2, head_dim even
/// Errors: beside these, those of config_file.hpp
///   - `expected an object or null`: this and the next three after `KEY is VALUE;`: rope_scaling or
///     rope_parameters
///   - `plait has rotary positions of type "default"`: rope_type or type
///   - `plait has rotary positions of whole heads, without scaling`: any other key beside them
///   - `plait has rotary positions of whole heads, expected 1`: partial_rotary_factor
/// Cost: a look-up a key
/// Source: transformers' MixtralConfig, whose defaults and readings these are
/// Test: tests/unit/models/mixtral/checkpoint_test.cpp
struct mixtral_config {
  std::string file;  ///< for messages
  int vocab_size = 32000, hidden_size = 4096, intermediate_size = 14336, num_hidden_layers = 32;
  int num_attention_heads = 32, num_key_value_heads = 8, head_dim = 128;
  int num_local_experts = 8, num_experts_per_tok = 2;
  bool tie_word_embeddings = false;
  float rms_norm_eps = 1e-5f, rope_theta = 1e6f;
  std::vector<int> eos_token_id{2};
};

/// The base of rotary positions: rope_theta among the keys (transformers 4) or inside
/// rope_parameters (5), where it counts more; rope_scaling, the older name of rope_parameters,
/// before either. Anything but plain rotary positions is refused.
inline float read_rope_theta(config_reader const& in, std::string const& file, float theta) {
  in.read_positive("rope_theta", theta);
  auto const full = [&](char const* key) {
    auto const* const v = in.find_value(key);
    if (v != nullptr && !v->is_object()) in.refuse(key, *v, "expected an object or null");
    return v != nullptr && !v->empty() ? v : nullptr;
  };
  auto const* const scaling = full("rope_scaling");
  auto const* const parameters = full("rope_parameters");
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

/// config.json as a Mixtral's. plait::error names file, key and value where it is not one that
/// plait can run.
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
    fail(file, "head_dim is " + std::to_string(c.head_dim) +
                   "; rotary positions turn pairs of values, expected an even number");
  if (auto const* const part = in.find_value("partial_rotary_factor");
      part != nullptr && *part != 1)
    in.refuse("partial_rotary_factor", *part,
              "plait has rotary positions of whole heads, expected 1");

  in.read("num_local_experts", c.num_local_experts, 1);
  in.read("num_experts", c.num_local_experts,
          1);  // transformers takes either name, and this one last
  if (c.num_local_experts == 1)
    fail(file, "num_local_experts is 1; a mixture of one is not offered, expected at least 2");
  in.read("num_experts_per_tok", c.num_experts_per_tok, 1);
  if (c.num_experts_per_tok > c.num_local_experts)
    fail(file, "num_experts_per_tok is " + std::to_string(c.num_experts_per_tok) +
                   ", more than num_local_experts, " + std::to_string(c.num_local_experts));

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
