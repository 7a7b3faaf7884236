// config.json of model type plait: any architecture, layer by layer.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_reader.hpp>
#include <plait/policy/hybrid.hpp>

#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The config.json of model type plait as values.
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
/// | key | value |
/// |---|---|
/// | `hidden_size`, `num_hidden_layers` | d_model, and the number of entries in `layers` |
/// | `vocab_size` | null for an architecture without embedding and head |
/// | `norm`, `norm_eps` | the norm before every part, and its eps |
/// | `layers` | one object per layer with `mixer` and `ffn`, each a component or null |
/// | `rope_theta` | absent for an architecture without one, read as 0 |
/// | `tie_word_embeddings` | false if absent |
/// | `eos_token_id` | an id, several in an array, or null; not written |
/// | `dtype` | for other programs, not read: each tensor of the file has its own type |
///
/// A component is an object with its "name" and its hyperparameters: numbers, texts, true or false.
/// They are compared with a type in plait_architecture.hpp.
/// Shapes: at most 10,000 layers
/// Errors: those of config_reader.hpp, and:
///   - `has no …`: hidden_size, vocab_size, num_hidden_layers, norm, norm_eps or layers
///   - `at most … are read`: this and the next two after `KEY is VALUE;`: num_hidden_layers
///   - `expected an object with a name`: a component
///   - `expected an array with one object per layer`: layers
///   - `… is …; expected a number, a text, true or false`: a hyperparameter
/// Cost: copies the JSON of every component
/// Test: tests/unit/io/family_test.cpp
struct plait_config {
  std::string file;  ///< for error messages
  int hidden_size = 0;
  int vocab_size = 0;
  int num_hidden_layers = 0;
  float norm_eps = 0;
  float rope_theta = 0;
  bool tie_word_embeddings = false;
  std::vector<int> eos_token_id;
  nlohmann::json norm;
  struct layer {
    nlohmann::json mixer, ffn;
  };
  std::vector<layer> layers;
};

/// Maximum num_hidden_layers.
inline constexpr int max_config_layers = 10'000;

/// Reads a config.json of model type plait.
inline plait_config parse_plait_config(config_file const& from) {
  std::string const& file = from.file();
  config_reader const in(from);
  plait_config c;
  c.file = file;
  auto const required = [&](char const* key) -> nlohmann::json const& {
    auto const* const v = in.find(key);
    if (v == nullptr) fail(file, "has no {}", key);
    return *v;
  };

  in.require_model_type("plait");
  c.hidden_size = in.integer(required("hidden_size"), "hidden_size", 1);
  nlohmann::json const& vocabulary = required("vocab_size");
  c.vocab_size = vocabulary.is_null() ? no_vocabulary : in.integer(vocabulary, "vocab_size", 1);
  c.num_hidden_layers = in.integer(required("num_hidden_layers"), "num_hidden_layers", 1);
  if (c.num_hidden_layers > max_config_layers)
    in.refuse("num_hidden_layers", c.num_hidden_layers,
              sentence("at most {} are read", max_config_layers));
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
    for (auto const& [hyperparameter, found] : value.get_ref<nlohmann::json::object_t const&>())
      if (found.is_structured() || found.is_null())
        fail(file, "{}.{} is {}; expected a number, a text, true or false", key,
             printable(hyperparameter), config_reader::text(found));
    return value;
  };
  c.norm = component(from.root(), "norm", required("norm"));
  nlohmann::json const& layers = required("layers");
  if (!layers.is_array())
    in.refuse("layers", layers, "expected an array with one object per layer");
  if (layers.size() != static_cast<std::size_t>(c.num_hidden_layers))
    fail(file, "layers has {} entries, but num_hidden_layers is {}", layers.size(),
         c.num_hidden_layers);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::string const at = sentence("layers[{}]", i);
    nlohmann::json const& layer = layers[i];
    if (!layer.is_object() || !layer.contains("mixer") || !layer.contains("ffn"))
      fail(file, "{} is {}; expected an object with mixer and ffn, either may be null", at,
           config_reader::text(layer));
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
