// The names of a model's tensors in checkpoints.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/core/sentence.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The spelling of tensor names in a family of checkpoints. A name is a stem, "experts.<e>." for
/// expert e, and a leaf. `part` is that of model_weights::for_each_tensor, `component` the
/// checkpoint_name of the layer's policy.
struct tensor_spelling {
  /// Stems with their final dot. The first is written, any of them is read.
  std::vector<std::string> (*stems)(int layer, std::string_view part, std::string_view component,
                                    bool tied);
  std::string (*leaf)(std::string_view part, std::string_view tensor);
};

/// The default leaf of a tensor. Norms, embedding and head keep the name. So do, in a component,
/// "weight", "bias", "A_log", "D" and names that end in ".weight" or ".bias"; all others get
/// ".weight".
inline std::string plain_leaf(std::string_view part, std::string_view tensor) {
  bool const in_component = part == "mixer" || part == "ffn";
  bool const is_complete = tensor == "bias" || tensor == "weight" || tensor.ends_with(".bias") ||
                           tensor.ends_with(".weight") || tensor == "A_log" || tensor == "D";
  return std::string(tensor) + (in_component && !is_complete ? ".weight" : "");
}

/// The stems of Jamba and of model type plait.
inline std::string jamba_stem(int layer, std::string_view part, std::string_view component,
                              bool tied) {
  if (part == "embedding" || (part == "head" && tied)) return "model.embed_tokens.";
  if (part == "head") return "lm_head.";
  if (part == "final_norm") return "model.final_layernorm.";
  if (part == "mixer_norm") component = "input_layernorm";
  if (part == "ffn_norm") component = "pre_ff_layernorm";
  return sentence("model.layers.{}.{}.", layer, component);
}

/// The shape of one copy in a file: [rows, cols]; a vector's is [rows]; that of the convolution's
/// taps [rows, 1, cols], with one input channel each.
inline std::vector<std::int64_t> shape_in_file(tensor const& t) {
  if (t.role == role::vector && std::string_view(t.name) == "conv1d") return {t.rows, 1, t.cols};
  if (t.role == role::vector && t.cols == 1) return {t.rows};
  return {t.rows, t.cols};
}

/// The part of a name between stem and leaf.
inline std::string copy_prefix(tensor const& t, std::int64_t e) {
  return t.role == role::expert ? sentence("experts.{}.", e) : std::string();
}

/// The tensor names of one architecture in one family.
/// Equation: Jamba and model type plait have "model.layers.<i>.<component>." and plain_leaf,
///   "model.layers.<i>.input_layernorm.weight", "model.layers.<i>.pre_ff_layernorm.weight",
///   "model.embed_tokens.weight", "model.final_layernorm.weight" and "lm_head.weight". A component
///   is "self_attn", "mamba", "feed_forward", or a user policy's `checkpoint_name`, by default
///   "mixer" or "ffn"
/// Errors: none; checkpoint_writer.hpp refuses two tensors of the same name
/// Cost: a few short strings per tensor
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
