// The tensor names of Hugging Face's Jamba checkpoints.
#pragma once

#include <plait/core/macros.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>
#include <plait/policy/none.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace plait::inline PLAIT_ABI::io {

/// What stands before a component's own tensor names in "model.layers.<i>.<prefix><name>".
/// A component of your own says it with a function of this name beside its policy.
template <class Policy>
constexpr char const* jamba_prefix(Policy const&) {
  static_assert(std::is_void_v<Policy>, "plait: this component has no checkpoint names; define jamba_prefix(policy) beside its policy");
  return "";
}
constexpr char const* jamba_prefix(attention const&) { return "self_attn."; }
constexpr char const* jamba_prefix(mamba const&) { return "mamba."; }
constexpr char const* jamba_prefix(mlp const&) { return "feed_forward."; }
constexpr char const* jamba_prefix(moe const&) { return "feed_forward."; }
constexpr char const* jamba_prefix(none const&) { return ""; }

/// A tensor's own name in a file: biases, A_log and D as they are, everything else with ".weight".
inline std::string jamba_leaf(std::string_view name) {
  bool const bare = name.ends_with(".bias") || name == "A_log" || name == "D";
  return std::string(name) + (bare ? "" : ".weight");
}

/// A tensor's shape in a file: [rows, cols]; a vector [rows]; the convolution's taps [rows, 1, cols], one input channel each.
inline std::vector<std::int64_t> jamba_shape(tensor const& t) {
  if (std::string_view(t.name) == "conv1d") return {t.rows, 1, t.cols};
  if (t.role == role::vector && t.cols == 1) return {t.rows};
  return {t.rows, t.cols};
}

/// The name of a tensor of model_weights::for_each_tensor. `prefix` is the component's, `expert` its copy or -1.
inline std::string jamba_name(int layer, std::string_view part, std::string_view prefix, std::string_view tensor, std::int64_t expert,
                              bool tied) {
  if (part == "embedding" || (part == "head" && tied)) return "model.embed_tokens.weight";
  if (part == "head") return "lm_head.weight";
  if (part == "final_norm") return "model.final_layernorm.weight";
  std::string const at = "model.layers." + std::to_string(layer) + ".";
  if (part == "mixer_norm") return at + "input_layernorm.weight";
  if (part == "ffn_norm") return at + "pre_ff_layernorm.weight";
  return at + std::string(prefix) + (expert >= 0 ? "experts." + std::to_string(expert) + "." : "") + jamba_leaf(tensor);
}

}  // namespace plait::inline PLAIT_ABI::io
