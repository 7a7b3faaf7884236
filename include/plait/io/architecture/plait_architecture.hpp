// The family of model type plait: config.json for any architecture, with components of plait or of
// the user.
// Equation: a component of config.json describes a policy if its "name" is the policy's
//   `checkpoint_name` and all `hyperparameters` are equal (policy/tensor.hpp), reals as floats; a
//   missing hyperparameter has the value of Policy{}. `none` is null. Layers are compared one by
//   one, whatever the schedule
// Shapes: hyperparameters are integers, bools, floats, or names of enumerators. `default_name`
//   names a policy without a `checkpoint_name`: "mixer", "ffn" or "norm"
// Errors: those of architecture_check.hpp, and:
//   - `… is null…, but this model was built with … there`: or `.name is NAME` for `is null`
//   - `… has no …`: a hyperparameter is missing, and Policy has no default
//   - `… is …, but this model was built for …`: a hyperparameter; for a missing one the value
//     is `missing, which means VALUE`
// Cost: builds the JSON of every component of every layer
// Test: tests/unit/io/family_test.cpp, tests/unit/io/save_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_check.hpp>
#include <plait/io/architecture/architecture_keys.hpp>
#include <plait/io/architecture/plait_config.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The value of a hyperparameter in config.json.
template <class Value>
nlohmann::json hyperparameter_value(Value const& value) {
  if constexpr (std::is_same_v<Value, float>)
    return number_of(value);
  else if constexpr (std::is_arithmetic_v<Value>)
    return value;
  else {
    static_assert(std::is_convertible_v<Value, std::string_view>,
                  "plait: hyperparameters visits integers, bools, floats and texts; give an "
                  "enumerator by its name");
    return std::string(std::string_view(value));
  }
}

/// The component of a policy in config.json: its name and hyperparameters, or null for `none`.
template <class Policy>
nlohmann::json component_value(Policy const& p, int d_model, char const* default_name) {
  if constexpr (std::is_same_v<Policy, none>)
    return nullptr;
  else {
    nlohmann::json out{{"name", policies::name_in_checkpoint(p, default_name)}};
    policies::visit_hyperparameters(p, d_model, [&](char const* name, auto const& value) {
      out[name] = hyperparameter_value(value);
    });
    return out;
  }
}

/// Throws plait::error unless component `found`, at key `where` of config.json, describes policy
/// `p`.
template <class Policy>
void require_component(std::string const& file, std::string const& where,
                       nlohmann::json const& found, Policy const& p, int d_model,
                       char const* default_name) {
  nlohmann::json const built = component_value(p, d_model, default_name);
  auto const name = [](nlohmann::json const& c) {
    return c.is_null() ? std::string("nothing") : config_reader::text(c["name"]);
  };
  if (found.is_null() && !built.is_null())
    fail(file, "{} is null, but this model was built with {} there", where, name(built));
  if (found.is_null() != built.is_null() || name(found) != name(built))
    fail(file, "{}.name is {}, but this model was built with {} there", where, name(found),
         name(built));
  if (built.is_null()) return;

  nlohmann::json defaults = nlohmann::json::object();
  if constexpr (std::default_initializable<Policy>)
    defaults = component_value(Policy{}, d_model, default_name);
  auto const same = [](nlohmann::json const& a, nlohmann::json const& b) {
    if (a.is_number_float() && b.is_number())
      return number_of(a.get<float>()) == number_of(b.get<float>());
    return a == b;
  };
  for (auto const& [hyperparameter, value] : built.get_ref<nlohmann::json::object_t const&>()) {
    bool const exists = found.contains(hyperparameter);
    if (!exists && !defaults.contains(hyperparameter))
      fail(file, "{} has no {}", where, printable(hyperparameter));
    nlohmann::json const& actual = exists ? found[hyperparameter] : defaults[hyperparameter];
    if (!same(value, actual))
      fail(file, "{}.{} is {}{}, but this model was built for {}", where, printable(hyperparameter),
           exists ? "" : "missing, which means ", config_reader::text(actual),
           config_reader::text(value));
  }
  for (auto const& [hyperparameter, value] : found.get_ref<nlohmann::json::object_t const&>())
    if (!built.contains(hyperparameter))
      fail(file, "{}.{} is {}, but {} of this model has no such hyperparameter", where,
           printable(hyperparameter), config_reader::text(value), name(found));
}

/// Throws plait::error unless architecture `a` is the one that config.json describes.
template <class Architecture>
void require_same(plait_config const& c, Architecture const& a) {
  architecture_check const check(c.file);
  check.same("hidden_size", c.hidden_size, a.d_model);
  auto const vocabulary = [](int n) { return n > 0 ? std::to_string(n) : std::string("null"); };
  if (vocabulary(c.vocab_size) != vocabulary(a.vocab_size))
    check.differ("vocab_size", vocabulary(c.vocab_size), vocabulary(a.vocab_size));
  check.same("num_hidden_layers", c.num_hidden_layers, a.num_layers());
  check.same("norm_eps", c.norm_eps, a.norm_eps);
  check.same("rope_theta", c.rope_theta, rope_theta_of(a));
  check.same("tie_word_embeddings", c.tie_word_embeddings, a.tie_embeddings);
  require_component(c.file, "norm", c.norm, a.norm, a.d_model, "norm");
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&](auto const& mixer, auto const& ffn) {
      std::string const at = sentence("layers[{}].", i);
      auto const& found = c.layers[static_cast<std::size_t>(i)];
      require_component(c.file, at + "mixer", found.mixer, mixer, a.d_model, "mixer");
      require_component(c.file, at + "ffn", found.ffn, ffn, a.d_model, "ffn");
    });
}

/// The keys of the config.json that describes an architecture.
template <class Architecture>
nlohmann::json plait_keys(Architecture const& a) {
  nlohmann::json keys{{"model_type", "plait"},
                      {"hidden_size", a.d_model},
                      {"vocab_size", nullptr},
                      {"num_hidden_layers", a.num_layers()},
                      {"norm", component_value(a.norm, a.d_model, "norm")},
                      {"norm_eps", number_of(a.norm_eps)},
                      {"tie_word_embeddings", a.tie_embeddings},
                      {"layers", nlohmann::json::array()}};
  if (a.vocab_size > 0) keys["vocab_size"] = a.vocab_size;
  if (rope_theta_of(a) > 0) keys["rope_theta"] = number_of(rope_theta_of(a));
  for (int i = 0; i < a.num_layers(); ++i)
    visit_layer(a, i, [&](auto const& mixer, auto const& ffn) {
      keys["layers"].push_back({{"mixer", component_value(mixer, a.d_model, "mixer")},
                                {"ffn", component_value(ffn, a.d_model, "ffn")}});
    });
  return keys;
}

/// Model type plait, for any architecture (io/family.hpp). Tensor names are Jamba's, with the
/// tensors of a component under its checkpoint_name.
struct plait_family {
  static constexpr char const* model_type = "plait";
  using config = plait_config;
  static config parse(config_file const& c) { return parse_plait_config(c); }
  template <class Architecture>
  static nlohmann::json keys(Architecture const& a) {
    return plait_keys(a);
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
