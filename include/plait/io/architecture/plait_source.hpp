// The header of an architecture of plait's own type, as far as its components are plait's.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/placement.hpp>
#include <plait/io/architecture/plait_architecture.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A component of config.json as source: its type and its initializer.
/// Equation: a `hybrid` where the layers follow Jamba's schedule, with at most two mixers and two
///   feed-forwards: attention, or else the first mixer, is in the first slot, experts in the last.
///   Otherwise a struct that lists its layers. What equals a policy's default is left out
/// Shapes: `at` has for each layer the place of its component in `distinct`; `hybrid_source` is ""
///   where there is no such schedule
/// Errors: the name's of architecture_source.hpp
/// Cost: a comparison of each layer's components with each other one, and the text
/// Test: tests/unit/io/family_test.cpp, which compares types;
/// tests/checks/tools/plait_config_test.sh
struct component_source {
  std::string type = "plait::none", value = "{}";
  friend bool operator==(component_source const&, component_source const&) = default;
};

/// The component as Policy, one of plait's; nothing if the name or a hyperparameter is not
/// Policy's. plait's
/// hyperparameters are called as the members are.
template <class Policy>
std::optional<component_source> source_as(nlohmann::json const& found, int d_model,
                                          char const* type) {
  nlohmann::json const usual = component_value(Policy{}, d_model, "");
  if (found["name"] != usual["name"]) return std::nullopt;
  auto const fits = [](nlohmann::json const& value, nlohmann::json const& as) {
    if (as.is_number_integer())
      return value.is_number_unsigned() && value.get<std::uint64_t>() <= INT32_MAX;
    return value.type() == as.type();
  };
  for (auto const& [hyperparameter, value] : found.get_ref<nlohmann::json::object_t const&>())
    if (!usual.contains(hyperparameter) || !fits(value, usual[hyperparameter])) return std::nullopt;
  initializer_text out;
  bool known = true;
  policies::visit_hyperparameters(Policy{}, d_model, [&](char const* name, auto const&) {
    std::string const key = name;
    if (!found.contains(key) || found[key] == usual[key]) return;
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

/// Which of plait's components this is; plait::error if none.
inline component_source component_source_of(plait_config const& c, std::string const& where,
                                            nlohmann::json found, bool mixer) {
  if (found.is_null()) return {};
  // the usual width of a head is not worth a word
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
    fail(c.file, where + " is " + config_reader::text(found["name"]) +
                     " with hyperparameters that no component of plait's has: a part in your own "
                     "code, so write the architecture there too");
  return *out;
}

/// Components that occur, and which of them each layer has.
struct component_list {
  std::vector<component_source> distinct;
  std::vector<int> at;

  void add(component_source const& c) {
    auto const place = std::find(distinct.begin(), distinct.end(), c);
    at.push_back(static_cast<int>(place - distinct.begin()));
    if (place == distinct.end()) distinct.push_back(c);
  }
  /// The layers that have component i.
  std::vector<bool> marked(int i) const {
    std::vector<bool> out;
    for (int const k : at) out.push_back(k == i);
    return out;
  }
  int find(std::string_view type) const {
    for (std::size_t i = 0; i < distinct.size(); ++i)
      if (distinct[i].type == type) return static_cast<int>(i);
    return -1;
  }
};

/// vocab_size as generated code spells it.
inline std::string vocabulary_text(int vocab_size) {
  return vocab_size == no_vocabulary ? "plait::no_vocabulary" : std::to_string(vocab_size);
}

/// A hybrid with Jamba's schedule, if the layers follow one; "" if not.
inline std::string hybrid_source(plait_config const& c, component_list const& mixers,
                                 component_list const& ffns) {
  if (mixers.distinct.size() > 2 || ffns.distinct.size() > 2) return "";
  // Attention, or else a mixer that is anything at all, goes into the first slot, experts into the
  // last. With one feed-forward alone
  // that is not experts, no layer routes.
  int const first = std::max(0, mixers.find("plait::attention")), routed = ffns.find("plait::moe");
  int const sparse = routed >= 0                 ? routed
                     : ffns.distinct.size() == 2 ? (ffns.distinct[0].type == "plait::none" ? 1 : 0)
                                                 : -1;
  bool const only_recurrent = mixers.distinct.size() == 1 && mixers.find("plait::mamba") == 0;
  auto const attends = only_recurrent ? find_run(std::vector<bool>(mixers.at.size()))
                                      : find_run(mixers.marked(first));
  auto const routes = find_run(ffns.marked(sparse));
  if (!attends || !routes || routes->count > 1) return "";

  component_source const nothing;
  auto const other = [&](component_list const& l, int i) {
    return l.distinct.size() == 2 ? l.distinct[static_cast<std::size_t>(1 - i)] : nothing;
  };
  component_source const attention = only_recurrent
                                         ? nothing
                                         : mixers.distinct[static_cast<std::size_t>(first)],
                         recurrent = only_recurrent ? mixers.distinct[0] : other(mixers, first),
                         dense = sparse >= 0 ? other(ffns, sparse) : ffns.distinct[0],
                         experts = sparse >= 0 ? ffns.distinct[static_cast<std::size_t>(sparse)]
                                               : nothing;
  hybrid_text out(attention.type + ", " + recurrent.type + ", " + dense.type + ", " + experts.type);
  out.line("d_model", c.hidden_size).line("vocab_size", vocabulary_text(c.vocab_size));
  out.line("layers", interleave_text(interleave_of(c.num_hidden_layers, *attends, routes)));
  auto const slot = [&](char const* name, component_source const& s) {
    if (s != nothing) out.line(name, s.value);
  };
  slot("attention", attention);
  slot("recurrent", recurrent);
  slot("dense", dense);
  slot("sparse", experts);
  return out.reals(c.norm_eps, c.rope_theta, c.tie_word_embeddings).str();
}

/// An architecture that lists its layers.
inline std::string listed_source(plait_config const& c, component_list const& mixers,
                                 component_list const& ffns) {
  std::string out = "struct architecture {\n  int d_model = " + std::to_string(c.hidden_size) +
                    ", vocab_size = " + vocabulary_text(c.vocab_size) + ";\n";
  out += "  plait::rms_norm norm{};\n  float norm_eps = " + float_text(c.norm_eps) +
         "f, rope_theta = " + float_text(c.rope_theta) + "f;\n";
  out += std::string("  bool tie_embeddings = ") + (c.tie_word_embeddings ? "true" : "false") +
         ";\n\n";
  auto const tuple = [&](char const* name, component_list const& list) {
    out.append("  constexpr auto ").append(name).append("() const {\n    return std::tuple{");
    for (std::size_t i = 0; i < list.distinct.size(); ++i)
      out.append(i > 0 ? ",\n                      " : "")
          .append(list.distinct[i].type)
          .append(list.distinct[i].value);
    out += "};\n  }\n";
  };
  auto const which = [&](char const* name, component_list const& list) {
    out.append("  constexpr int ")
        .append(name)
        .append("(int i) const {\n    constexpr int of_layer[] = {");
    for (std::size_t i = 0; i < list.at.size(); ++i)
      out.append(i > 0 ? ", " : "").append(std::to_string(list.at[i]));
    out += "};\n    return of_layer[i];\n  }\n";
  };
  tuple("mixers", mixers);
  tuple("ffns", ffns);
  out += "  constexpr int num_layers() const { return " + std::to_string(c.num_hidden_layers) +
         "; }\n";
  which("mixer_at", mixers);
  which("ffn_at", ffns);
  out +=
      "\n  friend constexpr bool operator==(architecture const&, architecture const&) = "
      "default;\n};\n";
  return out + "inline constexpr architecture config{};\n";
}

/// A header that defines NAME::config and NAME::model<Execution>: a hybrid where the layers follow
/// Jamba's schedule, otherwise an architecture that lists them. plait::error if a component is not
/// plait's own.
inline std::string architecture_source(plait_config const& c,
                                       std::string_view name = "checkpoint_architecture") {
  if (c.norm["name"] != policies::name_in_checkpoint(rms_norm{}, "") || c.norm.size() > 1)
    fail(c.file, "norm is " + config_reader::text(c.norm["name"]) +
                     ", a part in your own code, so write the architecture there too");
  component_list mixers, ffns;
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    std::string const at = "layers[" + std::to_string(i) + "].";
    mixers.add(component_source_of(c, at + "mixer", c.layers[i].mixer, true));
    ffns.add(component_source_of(c, at + "ffn", c.layers[i].ffn, false));
  }
  std::string const hybrid = hybrid_source(c, mixers, ffns);
  return header_text(name, hybrid.empty() ? listed_source(c, mixers, ffns) : hybrid);
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
