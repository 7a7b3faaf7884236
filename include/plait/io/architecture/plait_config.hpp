// config.json of plait's own model type: an architecture, layer by layer.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_file.hpp>
#include <plait/policy/hybrid.hpp>

#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// What config.json says. A component is null or an object with its "name" and its hyperparameters:
///
///   {"model_type": "plait", "hidden_size": 64, "vocab_size": 256, "num_hidden_layers": 1,
///    "norm": {"name": "rms_norm"}, "norm_eps": 1e-06, "tie_word_embeddings": false,
///    "layers": [{"mixer": {"name": "self_attn", "num_heads": 4, ...}, "ffn": null}]}
///
/// rope_theta is there where an architecture has one, 0 otherwise; a vocab_size of null means none;
/// tie_word_embeddings may be absent, which means false. Knobs are numbers, texts, true or false;
/// what they have to be is judged against a type (plait_architecture.hpp).
///
/// ```json
/// {"model_type": "plait", "hidden_size": 64, "vocab_size": 256, "num_hidden_layers": 2,
///  "norm": {"name": "rms_norm"}, "norm_eps": 1e-06, "tie_word_embeddings": false,
///  "dtype": "float32",
///  "layers": [{"mixer": {"name": "self_attn", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16,
///                         "positions": "none"}, "ffn": null},
///             {"mixer": null, "ffn": {"name": "feed_forward", "d_ff": 160}}]}
/// ```
///
/// | key | is |
/// |---|---|
/// | `hidden_size`, `num_hidden_layers` | d_model, and the number of entries in `layers` |
/// | `vocab_size` | null means none |
/// | `norm`, `norm_eps` | the norm before every part, and its eps |
/// | `layers` | an object a layer: `mixer` and `ffn`, either null where the layer has none |
/// | `rope_theta` | where an architecture has one; absent means 0 |
/// | `tie_word_embeddings` | absent means false |
/// | `eos_token_id` | an id, several in an array, or null; not written |
/// | `dtype` | written for other programs, not read: each tensor of the file has its type |
/// Equation: the format is below. A component is null or an object with its "name" and its
/// hyperparameters,
///   which are numbers, texts, true or false; whether they are the type's is for
///   plait_architecture.hpp
/// Shapes: hidden_size and vocab_size in values, vocab_size null without embedding and head; at
///   most 10,000 layers; eos_token_id may be there
/// Errors: beside these, those of config_file.hpp
///   - `has no …`: hidden_size, vocab_size, num_hidden_layers, norm, norm_eps or layers
///   - `at most … are read`: this and the next two after `KEY is VALUE;`: num_hidden_layers
///   - `expected an object with a name`: a component
///   - `expected an array with one object a layer`: layers
///   - `… is …; expected a number, a text, true or false`: a hyperparameter
/// Cost: keeps a copy of every component's JSON
/// Test: tests/unit/io/family_test.cpp
struct plait_config {
  std::string file;  ///< for messages
  int hidden_size = 0, vocab_size = 0, num_hidden_layers = 0;
  float norm_eps = 0, rope_theta = 0;
  bool tie_word_embeddings = false;
  std::vector<int> eos_token_id;
  nlohmann::json norm;
  struct layer {
    nlohmann::json mixer, ffn;
  };
  std::vector<layer> layers;
};

/// A num_hidden_layers beyond this is refused.
inline constexpr int max_config_layers = 10'000;

/// config.json as one of plait's own. plait::error names file, key and value.
inline plait_config parse_plait_config(config_file const& from) {
  std::string const& file = from.file();
  config_reader const in(from);
  plait_config c;
  c.file = file;
  auto const required = [&](char const* key) -> nlohmann::json const& {
    auto const* const v = in.find(key);
    if (v == nullptr) fail(file, std::string("has no ") + key);
    return *v;
  };

  in.require_model_type("plait");
  c.hidden_size = in.integer(required("hidden_size"), "hidden_size", 1);
  nlohmann::json const& vocabulary = required("vocab_size");
  c.vocab_size = vocabulary.is_null() ? no_vocabulary : in.integer(vocabulary, "vocab_size", 1);
  c.num_hidden_layers = in.integer(required("num_hidden_layers"), "num_hidden_layers", 1);
  if (c.num_hidden_layers > max_config_layers)
    in.refuse("num_hidden_layers", c.num_hidden_layers,
              "at most " + std::to_string(max_config_layers) + " are read");
  required("norm_eps");
  in.read_positive("norm_eps", c.norm_eps);
  in.read_positive("rope_theta", c.rope_theta);
  in.read("tie_word_embeddings", c.tie_word_embeddings);
  in.read_ids("eos_token_id", c.eos_token_id);

  auto const component = [&](nlohmann::json const& object, std::string const& key,
                             nlohmann::json const& value) {
    config_reader const inside(object, file, key.substr(0, key.rfind('.') + 1));
    std::string const leaf = key.substr(key.rfind('.') + 1);
    if (value.is_null() && leaf != "norm") return value;
    if (!value.is_object() || !value.contains("name") || !value["name"].is_string())
      inside.refuse(leaf.c_str(), value, "expected an object with a name");
    for (auto const& [hyperparameter, is] : value.get_ref<nlohmann::json::object_t const&>())
      if (is.is_structured() || is.is_null())
        fail(file, key + "." + printable(hyperparameter) + " is " + config_reader::text(is) +
                       "; expected a number, a text, true or false");
    return value;
  };
  c.norm = component(from.root(), "norm", required("norm"));
  nlohmann::json const& layers = required("layers");
  if (!layers.is_array()) in.refuse("layers", layers, "expected an array with one object a layer");
  if (layers.size() != static_cast<std::size_t>(c.num_hidden_layers))
    fail(file, "layers has " + std::to_string(layers.size()) +
                   " entries, but num_hidden_layers is " + std::to_string(c.num_hidden_layers));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::string const at = "layers[" + std::to_string(i) + "]";
    nlohmann::json const& layer = layers[i];
    if (!layer.is_object() || !layer.contains("mixer") || !layer.contains("ffn"))
      fail(file, at + " is " + config_reader::text(layer) +
                     "; expected an object with mixer and ffn, either may be null");
    c.layers.push_back({component(layer, at + ".mixer", layer["mixer"]),
                        component(layer, at + ".ffn", layer["ffn"])});
  }
  return c;
}

inline plait_config parse_plait_config(std::string_view text, std::string const& file) {
  return parse_plait_config(config_file(text, file));
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
