// The families of checkpoints, each with its config.json and its tensor names.
//
// ```cpp body
// plait::io::config_file const json(R"({"model_type": "plait", "hidden_size": 64,
//     "vocab_size": 256, "num_hidden_layers": 1, "norm": {"name": "rms_norm"}, "norm_eps": 1e-06,
//     "layers": [{"mixer": null, "ffn": {"name": "feed_forward", "d_ff": 160}}]})",
//                                   "config.json");
// // defines mine::config and mine::model<>
// std::string const header = plait::io::architecture_source(json, "mine");
// ```
//
// Errors: those of the family, and:
//   - `plait reads …`: model_type is absent, or after `model_type is VALUE;`. All known ones are
//     listed
// Cost: reads the keys; `config_of` writes and reads up to three config.json
// Test: tests/unit/io/family_test.cpp, tests/unit/io/save_golden_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/architecture/plait_source.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/models/jamba/checkpoint.hpp>
#include <plait/models/mixtral/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// All families, in the order in which config_of tries them; the last one can express any
/// architecture. A family has these static members, and functions of its `config`:
///
/// - `model_type`: the value of that key
/// - `config`: config.json as numbers, with `file` and `eos_token_id`
/// - `parse(config_file)`: a `config`; refuses what plait cannot run
/// - `require_same(config, architecture)`: throws plait::error with file, key and both values
///   unless config.json describes the architecture
/// - `architecture_source(config, name)`: a header that defines the architecture
/// - `keys(architecture)`: the keys of config.json, or null if the family cannot express it
/// - `stems(layer, part, component, tied)`, `leaf(part, tensor)`: tensor names, as tensor_spelling
///   (tensor_names.hpp)
using families = std::tuple<jamba_family, mixtral_family, plait_family>;

/// The tensor names of a family.
template <class Family>
constexpr tensor_spelling spelling_of() {
  return {.stems = &Family::stems,
          .leaf = static_cast<decltype(tensor_spelling::leaf)>(Family::leaf)};
}

/// Calls visit(family) for the family of config.json's model_type; throws plait::error for an
/// unknown one.
template <class Visit>
void visit_family(config_file const& json, Visit&& visit) {
  std::string known_types;
  config_reader const in(json);
  auto const* const type = in.find("model_type");
  bool found = false;
  auto const consider = [&](auto family) {
    known_types += (known_types.empty() ? "" : ", ") + in_quotes(family.model_type);
    if (type == nullptr || *type != family.model_type) return;
    found = true;
    visit(family);
  };
  std::apply([&](auto... family) { (consider(family), ...); }, families{});
  if (found) return;
  if (type == nullptr) fail(json.file(), "has no model_type; plait reads {}", known_types);
  in.refuse("model_type", *type, sentence("plait reads {}", known_types));
}

/// Throws plait::error unless config.json describes architecture `a`; returns the tensor names of
/// its family, for tensor_names (tensor_names.hpp).
template <class Architecture>
tensor_spelling require_same(config_file const& json, Architecture const& a) {
  tensor_spelling spelling{};
  visit_family(json, [&]<class Family>(Family) {
    require_same(Family::parse(json), a);
    spelling = spelling_of<Family>();
  });
  return spelling;
}

/// A header that defines NAME::config, the architecture that config.json describes, and
/// NAME::model<Execution>.
inline std::string architecture_source(config_file const& json,
                                       std::string_view name = "checkpoint_architecture") {
  std::string text;
  visit_family(json, [&](auto family) { text = architecture_source(family.parse(json), name); });
  return text;
}

/// The ids of eos_token_id, after which generated text ends: none, one or several.
inline std::vector<int> end_tokens(config_file const& json) {
  std::vector<int> ids;
  visit_family(json, [&](auto family) { ids = family.parse(json).eos_token_id; });
  return ids;
}

/// A config.json of the first family that can express architecture `a`: its keys, read again,
/// describe `a`. `dtype` is the text of that key, "float32" or "bfloat16"; `file` is for error
/// messages.
template <class Architecture>
config_file config_of(Architecture const& a, std::string const& file, std::string_view dtype) {
  std::string text;
  auto const consider = [&]<class Family>(Family) {
    if (!text.empty()) return;
    nlohmann::json keys = Family::keys(a);
    if (keys.is_null()) return;
    keys["dtype"] = dtype;
    std::string const candidate = keys.dump();
    using last = std::tuple_element_t<std::tuple_size_v<families> - 1, families>;
    if constexpr (std::is_same_v<Family, last>) {
      require_same(Family::parse({candidate, file}), a);  // throws for a NaN in the architecture
    } else {
      try {
        require_same(Family::parse({candidate, file}), a);
      } catch (error const&) {
        return;
      }
    }
    text = candidate;
  };
  std::apply([&](auto... family) { (consider(family), ...); }, families{});
  return {text, file};
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
