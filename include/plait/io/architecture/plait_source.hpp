// A generated header for a config.json of model type plait whose components are plait's.
// Equation: a `hybrid` if the layers follow Jamba's schedule with at most two mixers and two
//   feed-forwards: attention, or else the first mixer, is its first slot, experts its last.
//   Otherwise a struct that lists its layers
// Errors: those of the name, see source_text.hpp
// Cost: compares the components of each layer with every distinct one
// Test: tests/unit/io/family_test.cpp, tests/checks/tools/plait_config_test.sh
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/layer_pattern.hpp>
#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/architecture/source_text.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The source of a component: its type and its initializer. Members that equal the policy's
/// defaults are left out.
struct component_source {
  std::string type = "plait::none", value = "{}";
  friend bool operator==(component_source const&, component_source const&) = default;
};

/// The source of component `found` as one of plait's policies, whose hyperparameters have the names
/// of its members; nullopt if the name or a hyperparameter is not the policy's.
template <class Policy>
std::optional<component_source> source_as(nlohmann::json const& found, int d_model,
                                          char const* type) {
  nlohmann::json const defaults = component_value(Policy{}, d_model, "");
  if (found["name"] != defaults["name"]) return std::nullopt;
  auto const has_type_of = [](nlohmann::json const& value, nlohmann::json const& other) {
    if (other.is_number_integer())
      return value.is_number_unsigned() && value.get<std::uint64_t>() <= INT32_MAX;
    return value.type() == other.type();
  };
  for (auto const& [hyperparameter, value] : found.get_ref<nlohmann::json::object_t const&>())
    if (!defaults.contains(hyperparameter) || !has_type_of(value, defaults[hyperparameter]))
      return std::nullopt;
  initializer_text out;
  bool known = true;
  policies::visit_hyperparameters(Policy{}, d_model, [&](char const* name, auto const&) {
    std::string const key = name;
    if (!found.contains(key) || found[key] == defaults[key]) return;
    nlohmann::json const& value = found[key];
    if (!value.is_string()) return (void)out.add(name, value.dump());
    std::string const& text = value.get_ref<std::string const&>();
    if (key == "positions" && text == "rotary")
      out.add(name, std::string("plait::positions::rotary"));
    else if (key == "weights" && text == "renormalised")
      out.add(name, std::string("plait::router_weights::renormalised"));
    else
      known = false;
  });
  if (!known) return std::nullopt;
  return component_source{type, out.str()};
}

/// The source of a component; throws plait::error if it is none of plait's.
inline component_source component_source_of(plait_config const& c, std::string const& where,
                                            nlohmann::json found, bool mixer) {
  if (found.is_null()) return {};
  // The default head_dim is left out.
  if (found.contains("head_dim") && found.contains("num_heads") &&
      found["head_dim"].is_number_integer() && found["num_heads"].is_number_integer() &&
      found["head_dim"].get<std::int64_t>() * found["num_heads"].get<std::int64_t>() ==
          c.hidden_size)
    found.erase("head_dim");
  std::optional<component_source> out;
  if (mixer) out = source_as<attention>(found, c.hidden_size, "plait::attention");
  if (mixer && !out) out = source_as<mamba>(found, c.hidden_size, "plait::mamba");
  if (!mixer) out = source_as<mlp>(found, c.hidden_size, "plait::mlp");
  if (!mixer && !out) out = source_as<moe>(found, c.hidden_size, "plait::moe");
  if (!out)
    fail(c.file,
         "{} is {} with hyperparameters that no component of plait has; a component in your own "
         "code needs an architecture there",
         where, config_reader::text(found["name"]));
  return *out;
}

/// The distinct components of an architecture, and for each layer the index of its own.
struct component_list {
  std::vector<component_source> distinct;
  std::vector<int> at;

  void add(component_source const& c) {
    auto const place = std::find(distinct.begin(), distinct.end(), c);
    at.push_back(static_cast<int>(place - distinct.begin()));
    if (place == distinct.end()) distinct.push_back(c);
  }
  /// For each layer, whether it has component i.
  std::vector<bool> marked(int i) const {
    std::vector<bool> out;
    for (int const k : at) out.push_back(k == i);
    return out;
  }
  /// The index of the first component of this type, or -1.
  int find(std::string_view type) const {
    for (std::size_t i = 0; i < distinct.size(); ++i)
      if (distinct[i].type == type) return static_cast<int>(i);
    return -1;
  }
};

/// vocab_size in generated code.
inline std::string vocabulary_text(int vocab_size) {
  return vocab_size == no_vocabulary ? "plait::no_vocabulary" : std::to_string(vocab_size);
}

/// The definition of a hybrid if the layers follow Jamba's schedule, otherwise "".
inline std::string hybrid_source(plait_config const& c, component_list const& mixers,
                                 component_list const& ffns) {
  if (mixers.distinct.size() > 2 || ffns.distinct.size() > 2) return "";
  // Attention, or else the first mixer, takes the first slot, experts the last. A single
  // feed-forward without experts is the dense one.
  int const first = std::max(0, mixers.find("plait::attention"));
  int const moe_index = ffns.find("plait::moe");
  int const sparse = moe_index >= 0              ? moe_index
                     : ffns.distinct.size() == 2 ? (ffns.distinct[0].type == "plait::none" ? 1 : 0)
                                                 : -1;
  bool const only_recurrent = mixers.distinct.size() == 1 && mixers.find("plait::mamba") == 0;
  auto const attends = only_recurrent ? find_run(std::vector<bool>(mixers.at.size()))
                                      : find_run(mixers.marked(first));
  auto const routes = find_run(ffns.marked(sparse));
  if (!attends || !routes || routes->count > 1) return "";

  component_source const no_component;
  auto const other = [&](component_list const& l, int i) {
    return l.distinct.size() == 2 ? l.distinct[static_cast<std::size_t>(1 - i)] : no_component;
  };
  component_source const attention =
      only_recurrent ? no_component : mixers.distinct[static_cast<std::size_t>(first)];
  component_source const recurrent = only_recurrent ? mixers.distinct[0] : other(mixers, first);
  component_source const dense = sparse >= 0 ? other(ffns, sparse) : ffns.distinct[0];
  component_source const experts =
      sparse >= 0 ? ffns.distinct[static_cast<std::size_t>(sparse)] : no_component;
  hybrid_text out(attention.type + ", " + recurrent.type + ", " + dense.type + ", " + experts.type);
  out.line("d_model", c.hidden_size).line("vocab_size", vocabulary_text(c.vocab_size));
  out.line("layers", interleave_text(interleave_of(c.num_hidden_layers, *attends, routes)));
  auto const slot = [&](char const* name, component_source const& s) {
    if (s != no_component) out.line(name, s.value);
  };
  slot("attention", attention);
  slot("recurrent", recurrent);
  slot("dense", dense);
  slot("sparse", experts);
  return out.reals(c.norm_eps, c.rope_theta, c.tie_word_embeddings).str();
}

/// The definition of an architecture that lists its layers.
inline std::string listed_source(plait_config const& c, component_list const& mixers,
                                 component_list const& ffns) {
  std::string out = sentence("struct architecture {\n  int d_model = {}, vocab_size = {};\n",
                             c.hidden_size, vocabulary_text(c.vocab_size));
  out += "  plait::rms_norm norm{};\n";
  out += sentence("  float norm_eps = {}f, rope_theta = {}f;\n  bool tie_embeddings = {};\n\n",
                  float_text(c.norm_eps), float_text(c.rope_theta),
                  c.tie_word_embeddings ? "true" : "false");
  auto const tuple = [&](char const* name, component_list const& list) {
    out.append("  constexpr auto ").append(name).append("() const {\n    return std::tuple{");
    for (std::size_t i = 0; i < list.distinct.size(); ++i)
      out.append(i > 0 ? ",\n                      " : "")
          .append(list.distinct[i].type)
          .append(list.distinct[i].value);
    out += "};\n  }\n";
  };
  auto const index_function = [&](char const* name, component_list const& list) {
    out.append("  constexpr int ")
        .append(name)
        .append("(int i) const {\n    constexpr int of_layer[] = {");
    for (std::size_t i = 0; i < list.at.size(); ++i)
      out.append(i > 0 ? ", " : "").append(std::to_string(list.at[i]));
    out += "};\n    return of_layer[i];\n  }\n";
  };
  tuple("mixers", mixers);
  tuple("ffns", ffns);
  out += sentence("  constexpr int num_layers() const { return {}; }\n", c.num_hidden_layers);
  index_function("mixer_at", mixers);
  index_function("ffn_at", ffns);
  out +=
      "\n  friend constexpr bool operator==(architecture const&, architecture const&) = "
      "default;\n};\n";
  return out + "inline constexpr architecture config{};\n";
}

/// A header that defines NAME::config and NAME::model<Execution>; throws plait::error if a
/// component is not plait's.
inline std::string architecture_source(plait_config const& c,
                                       std::string_view name = "checkpoint_architecture") {
  if (c.norm["name"] != policies::name_in_checkpoint(rms_norm{}, "") || c.norm.size() > 1)
    fail(c.file, "norm is {}; a component in your own code needs an architecture there",
         config_reader::text(c.norm["name"]));
  component_list mixers;
  component_list ffns;
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    std::string const at = sentence("layers[{}].", i);
    mixers.add(component_source_of(c, at + "mixer", c.layers[i].mixer, true));
    ffns.add(component_source_of(c, at + "ffn", c.layers[i].ffn, false));
  }
  std::string const hybrid = hybrid_source(c, mixers, ffns);
  return header_text(name, hybrid.empty() ? listed_source(c, mixers, ffns) : hybrid);
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
