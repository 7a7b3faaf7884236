// Between a config.json of plait's own type and architectures of any components, yours too.
// Equation: a component is what its policy says of itself (policy/tensor.hpp): its
//   `checkpoint_name` as "name", and every one of its `hyperparameters`; `none` is null. It is the
//   type's if
//   names and hyperparameters are equal, reals as floats; a hyperparameter that is missing is that
//   of Policy{}. A layer
//   is compared with the layer in its place, whatever the schedule
// Shapes: hyperparameters are integers, bools, floats, or an enumerator's name as text. `otherwise`
// is the
//   name of a policy that says none: "mixer", "ffn" or "norm". Tensors are named as a Jamba's, a
//   component's under its name (tensor_names.hpp)
// Errors: beside these, those of architecture_check.hpp
//   - `… is null…, but this model was built with … there`: or `.name is NAME` for `is null`
//   - `… has no …`: a hyperparameter, and Policy has no default for it
//   - `… is …, but this model was built for …`: a hyperparameter; one that is absent is
//   `missing, which means
//     VALUE`
// Cost: builds the JSON of every component of every layer
// Test: tests/unit/io/family_test.cpp, tests/unit/io/save_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_check.hpp>
#include <plait/io/architecture/architecture_keys.hpp>
#include <plait/io/architecture/plait_config.hpp>
#include <plait/io/architecture/tensor_names.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A hyperparameter's value in config.json.
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

/// {"name": ..., hyperparameters}, or null for `none`. `otherwise` is the name of a policy that has
/// none.
template <class Policy>
nlohmann::json component_value(Policy const& p, int d_model, char const* otherwise) {
  if constexpr (std::is_same_v<Policy, none>)
    return nullptr;
  else {
    nlohmann::json out{{"name", policies::name_in_checkpoint(p, otherwise)}};
    policies::visit_hyperparameters(p, d_model, [&](char const* name, auto const& value) {
      out[name] = hyperparameter_value(value);
    });
    return out;
  }
}

/// Throws plait::error unless the component that config.json has at `where` is policy `p`: name and
/// every hyperparameter, reals as floats. A hyperparameter that is missing is that of Policy{}.
template <class Policy>
void require_component(std::string const& file, std::string const& where,
                       nlohmann::json const& found, Policy const& p, int d_model,
                       char const* otherwise) {
  nlohmann::json const built = component_value(p, d_model, otherwise);
  auto const name = [](nlohmann::json const& c) {
    return c.is_null() ? std::string("nothing") : config_reader::text(c["name"]);
  };
  if (found.is_null() != built.is_null() || name(found) != name(built))
    fail(file, where + (found.is_null() ? " is null" : ".name is " + name(found)) +
                   ", but this model was built with " + name(built) + " there");
  if (built.is_null()) return;

  nlohmann::json defaults = nlohmann::json::object();
  if constexpr (std::default_initializable<Policy>)
    defaults = component_value(Policy{}, d_model, otherwise);
  auto const same = [](nlohmann::json const& a, nlohmann::json const& b) {
    if (a.is_number_float() && b.is_number())
      return number_of(a.get<float>()) == number_of(b.get<float>());
    return a == b;
  };
  for (auto const& [hyperparameter, value] : built.get_ref<nlohmann::json::object_t const&>()) {
    bool const there = found.contains(hyperparameter);
    if (!there && !defaults.contains(hyperparameter))
      fail(file, where + " has no " + printable(hyperparameter));
    nlohmann::json const& is = there ? found[hyperparameter] : defaults[hyperparameter];
    if (!same(value, is))
      fail(file, where + "." + printable(hyperparameter) + " is " +
                     (there ? "" : "missing, which means ") + config_reader::text(is) +
                     ", but this model was built for " + config_reader::text(value));
  }
  for (auto const& [hyperparameter, value] : found.get_ref<nlohmann::json::object_t const&>())
    if (!built.contains(hyperparameter))
      fail(file, where + "." + printable(hyperparameter) + " is " + config_reader::text(value) +
                     ", but " + name(found) + " of this model has no such hyperparameter");
}

/// Throws plait::error unless architecture `a` is the one config.json describes, layer by layer.
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
      std::string const at = "layers[" + std::to_string(i) + "].";
      auto const& found = c.layers[static_cast<std::size_t>(i)];
      require_component(c.file, at + "mixer", found.mixer, mixer, a.d_model, "mixer");
      require_component(c.file, at + "ffn", found.ffn, ffn, a.d_model, "ffn");
    });
}

/// The keys of config.json that describe an architecture.
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

/// plait's own type: any architecture, any components (io/family.hpp). Names as Jamba's, with each
/// component under its checkpoint_name.
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
