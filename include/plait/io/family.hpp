// Families of checkpoints: how a config.json and the tensor names of one model_type relate to
// architectures.
//
// ```cpp body
// plait::io::config_file const about(R"({"model_type": "plait", "hidden_size": 64,
//     "vocab_size": 256, "num_hidden_layers": 1, "norm": {"name": "rms_norm"}, "norm_eps": 1e-06,
//     "layers": [{"mixer": null, "ffn": {"name": "feed_forward", "d_ff": 160}}]})",
//                                    "config.json");
// // defines mine::config and mine::model<>
// std::string const header = plait::io::architecture_source(about, "mine");
// ```
//
// Equation: config.json belongs to the family whose `model_type` it has. `config_of` tries the
//   families in the order of `families`, Jamba, Mixtral, plait, and takes the first whose keys,
//   read again, describe the architecture; the last has words for any
// Shapes: `require_same` gives the family's spelling of names, for tensor_names (tensor_names.hpp);
//   `end_tokens` the ids of eos_token_id, none, one or several; `dtype` is the text of that key,
//   "float32" or "bfloat16", and `file` is for messages
// Errors: beside these, those of the family
//   - `plait reads …`: after `model_type is VALUE;`: every model_type that is known
// Cost: reads the keys; `config_of` makes and reads up to three
// Test: tests/unit/io/family_test.cpp, tests/unit/io/save_golden_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/architecture/plait_source.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/config_file.hpp>
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

/// What a family has to offer, as static members and functions of its config:
///
/// - `model_type`: the value of that key
/// - `config`: config.json as numbers, with `file` and `eos_token_id`
/// - `parse(config_file)`: a `config`; refuses what plait cannot run
/// - `require_same(config, architecture)`: plait::error with file, key and both values unless the
///   types agree
/// - `architecture_source(config, name)`: a header that defines the architecture
/// - `keys(architecture)`: the keys of config.json, null where the family has no words for it
/// - `stems(layer, part, component, tied)`, `leaf(part, tensor)`: names, as tensor_spelling
///   (tensor_names.hpp)
///
/// In the order in which a saved architecture takes the first that describes it: the last takes
/// any.
using families = std::tuple<jamba_family, mixtral_family, plait_family>;

/// The names of a family's tensors.
template <class Family>
constexpr tensor_spelling spelling_of() {
  return {.stems = &Family::stems,
          .leaf = static_cast<decltype(tensor_spelling::leaf)>(Family::leaf)};
}

/// Calls visit(family) for the family of config.json's model_type; plait::error if there is none.
template <class Visit>
void visit_family(config_file const& about, Visit&& visit) {
  std::string known;
  config_reader const in(about);
  auto const* const type = in.find("model_type");
  bool found = false;
  auto const consider = [&](auto family) {
    known += (known.empty() ? "" : ", ") + in_quotes(family.model_type);
    if (type == nullptr || *type != family.model_type) return;
    found = true;
    visit(family);
  };
  std::apply([&](auto... family) { (consider(family), ...); }, families{});
  if (found) return;
  if (type == nullptr) fail(about.file(), "has no model_type; plait reads " + known);
  in.refuse("model_type", *type, "plait reads " + known);
}

/// Throws plait::error unless config.json describes architecture `a`; returns how its family spells
/// the names of tensors.
template <class Architecture>
tensor_spelling require_same(config_file const& about, Architecture const& a) {
  tensor_spelling spelling{};
  visit_family(about, [&]<class Family>(Family) {
    require_same(Family::parse(about), a);
    spelling = spelling_of<Family>();
  });
  return spelling;
}

/// A header that defines NAME::config, the architecture that config.json describes, and
/// NAME::model<Execution>.
inline std::string architecture_source(config_file const& about,
                                       std::string_view name = "checkpoint_architecture") {
  std::string text;
  visit_family(about, [&](auto family) { text = architecture_source(family.parse(about), name); });
  return text;
}

/// The ids after which a generated text ends, as config.json has them.
inline std::vector<int> end_tokens(config_file const& about) {
  std::vector<int> ids;
  visit_family(about, [&](auto family) { ids = family.parse(about).eos_token_id; });
  return ids;
}

/// A config.json that describes architecture `a`, of the first family that can: what it says is
/// read again and compared before it counts. `file` is for messages.
template <class Architecture>
config_file config_of(Architecture const& a, std::string const& file, std::string_view dtype) {
  std::string text;
  auto const consider = [&]<class Family>(Family) {
    if (!text.empty()) return;
    nlohmann::json keys = Family::keys(a);
    if (keys.is_null()) return;
    keys["dtype"] = dtype;
    std::string const candidate = keys.dump();
    if constexpr (std::is_same_v<Family,
                                 std::tuple_element_t<std::tuple_size_v<families> - 1, families>>) {
      require_same(Family::parse({candidate, file}),
                   a);  // the last: what is wrong with it is wrong with the architecture
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
