// The names of a model's tensors in files.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// A tensor's name in a file is a stem, for one expert of several "experts.<e>.", and a leaf. A
/// family of checkpoints says how its stems and leaves are spelt. `part` is that of
/// model_weights::for_each_tensor; `component` the checkpoint_name of the policy there.
struct tensor_spelling {
  /// With the dot behind it. The first is the one that is written, any of them is read.
  std::vector<std::string> (*stems)(int layer, std::string_view part, std::string_view component,
                                    bool tied);
  std::string (*leaf)(std::string_view part, std::string_view tensor);
};

/// A tensor's leaf where its family has no other name for it: norms, embedding and head have plain
/// names; of a component, weight, biases, A_log, D and what ends with ".weight" are as they are,
/// and everything else gets ".weight".
inline std::string plain_leaf(std::string_view part, std::string_view tensor) {
  bool const component = part == "mixer" || part == "ffn";
  bool const bare = tensor == "bias" || tensor == "weight" || tensor.ends_with(".bias") ||
                    tensor.ends_with(".weight") || tensor == "A_log" || tensor == "D";
  return std::string(tensor) + (component && !bare ? ".weight" : "");
}

/// Jamba's stems, which plait's own type has too.
inline std::string jamba_stem(int layer, std::string_view part, std::string_view component,
                              bool tied) {
  if (part == "embedding" || (part == "head" && tied)) return "model.embed_tokens.";
  if (part == "head") return "lm_head.";
  if (part == "final_norm") return "model.final_layernorm.";
  std::string const at = "model.layers." + std::to_string(layer) + ".";
  if (part == "mixer_norm") return at + "input_layernorm.";
  if (part == "ffn_norm") return at + "pre_ff_layernorm.";
  return at + std::string(component) + ".";
}

/// One copy's shape in a file: [rows, cols]; a vector [rows]; the convolution's taps [rows, 1,
/// cols], one input channel each.
inline std::vector<std::int64_t> shape_in_file(tensor const& t) {
  if (t.role == role::vector && std::string_view(t.name) == "conv1d") return {t.rows, 1, t.cols};
  if (t.role == role::vector && t.cols == 1) return {t.rows};
  return {t.rows, t.cols};
}

/// What stands between stem and leaf.
inline std::string copy_prefix(tensor const& t, std::int64_t e) {
  return t.role == role::expert ? "experts." + std::to_string(e) + "." : std::string();
}

/// The names of the tensors of one architecture, spelt by one family.
/// Equation: a name is STEM, for expert e "experts.<e>.", and LEAF. Jamba's, which plait's own type
///   has too: "model.layers.<i>.<component>.<name>", followed by ".weight" unless it is "weight",
///   "bias", "A_log" or "D" or ends with ".weight" or ".bias"; "model.embed_tokens.weight",
///   "lm_head.weight", "model.final_layernorm.weight", and of a layer "input_layernorm.weight" and
///   "pre_ff_layernorm.weight". A component is "self_attn", "mamba", "feed_forward", or the
///   `checkpoint_name` of a policy of your own, without which it is "mixer" or "ffn"
/// Shapes: [rows, cols], a vector [rows], the convolution's taps [d, 1, d_conv]. `part` is that of
///   `for_each_tensor`; the first of several stems is written, any is read
/// Errors: none; that two tensors would be called the same is said by checkpoint_writer.hpp
/// Cost: a few short strings a tensor
/// Test: tests/unit/io/family_test.cpp, tests/unit/io/load_test.cpp, tests/unit/io/save_test.cpp
template <class Architecture>
class tensor_names {
 public:
  tensor_names(Architecture const& a, tensor_spelling const& spelling)
      : architecture_(a), spelling_(spelling) {}

  std::vector<std::string> stems(int layer, std::string_view part) const {
    return spelling_.stems(layer, part, component(layer, part), architecture_.tie_embeddings);
  }
  std::string leaf(std::string_view part, tensor const& t) const {
    return spelling_.leaf(part, t.name);
  }
  /// The name under which copy e of tensor t is written.
  std::string written(int layer, std::string_view part, tensor const& t, std::int64_t e) const {
    return stems(layer, part).front() + copy_prefix(t, e) + leaf(part, t);
  }

 private:
  std::string component(int layer, std::string_view part) const {
    std::string name;
    if (part == "mixer" || part == "ffn")
      visit_layer(architecture_, layer, [&](auto const& mixer, auto const& ffn) {
        name = part == "mixer" ? policies::name_in_checkpoint(mixer, "mixer")
                               : policies::name_in_checkpoint(ffn, "ffn");
      });
    return name;
  }

  Architecture const& architecture_;
  tensor_spelling spelling_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
