// Between config.json and types: the source of an architecture, and the test that one is the checkpoint's.
#pragma once

#include <plait/io/jamba_config.hpp>
#include <plait/policy.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

namespace plait::io {

/// The shortest text that reads back as the same float. Not printf: its decimal point depends on the locale.
inline std::string float_text(float value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr};
}

/// Whether generated code may use `name` for a namespace: an identifier, neither a keyword nor reserved nor taken.
inline bool is_namespace_name(std::string_view name) {
  // clang-format off
  constexpr std::string_view taken[] = {
      "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "char16_t",
      "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl", "concept", "const", "const_cast", "consteval",
      "constexpr", "constinit", "continue", "decltype", "default", "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit",
      "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new",
      "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "plait", "private", "protected", "public", "register",
      "reinterpret_cast", "requires", "return", "short", "signed", "sizeof", "static", "static_assert", "static_cast", "std", "struct",
      "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "union", "unsigned",
      "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq"};
  // clang-format on
  auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  auto const follows = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && letter(name[0]) && std::all_of(name.begin(), name.end(), follows) && name.find("__") == std::string_view::npos &&
         std::find(std::begin(taken), std::end(taken), name) == std::end(taken);
}

/// A header that defines NAME::config, the architecture of `c` as a value, and NAME::model<Execution>. What equals the policies'
/// defaults is left out, so that a published checkpoint gives the published configuration.
inline std::string architecture_source(jamba_config const& c, std::string_view name = "checkpoint_architecture") {
  if (!is_namespace_name(name))
    throw error("the name " + in_quotes(name) +
                " cannot be a namespace; expected a C++ identifier that begins with a letter and is not reserved");
  auto const text = [](int n) { return std::to_string(n); };

  std::int64_t const period =
      c.dense() ? c.attn_layer_period : std::lcm(std::int64_t{c.attn_layer_period}, std::int64_t{c.expert_layer_period});
  bool const repeats = c.num_hidden_layers % period == 0;
  int const l = repeats ? static_cast<int>(period) : c.num_hidden_layers, recur = c.attn_layer_period - 1;
  std::string layers =
      "{.blocks = " + text(c.num_hidden_layers / l) + ", .layers_per_block = " + text(l) + ", .attend = 1, .recur = " + text(recur);
  if (!c.dense()) layers += ", .moe_every = " + text(c.expert_layer_period);
  if (c.attn_layer_offset != interleave{.attend = 1, .recur = recur}.first_attention())
    layers += ", .attend_offset = " + text(c.attn_layer_offset);
  if (!c.dense() && c.expert_layer_offset != interleave{.moe_every = c.expert_layer_period}.first_moe())
    layers += ", .moe_offset = " + text(c.expert_layer_offset);
  layers += "}";

  std::string attention = "{.num_heads = " + text(c.num_attention_heads) + ", .num_kv_heads = " + text(c.num_key_value_heads);
  if (std::int64_t{c.head_dim} * c.num_attention_heads != c.hidden_size) attention += ", .head_dim = " + text(c.head_dim);
  attention += "}";

  plait::mamba const usual;
  auto const truth = [](bool b) { return b ? "true" : "false"; };
  std::string recurrent = "{.d_state = " + text(c.mamba_d_state) + ", .d_conv = " + text(c.mamba_d_conv) +
                          ", .expand = " + text(c.mamba_expand) + ", .dt_rank = " + text(c.mamba_dt_rank);
  if (c.mamba_conv_bias != usual.conv_bias) recurrent += std::string(", .conv_bias = ") + truth(c.mamba_conv_bias);
  if (c.mamba_proj_bias != usual.proj_bias) recurrent += std::string(", .proj_bias = ") + truth(c.mamba_proj_bias);
  recurrent += "}";

  std::string const sparse = c.dense() ? "plait::none" : "plait::moe";
  std::string out = "// Written by plait-config from a checkpoint's config.json: change that, not this.\n#pragma once\n\n";
  out += "#include <plait/model/model.hpp>\n#include <plait/policy.hpp>\n\n";
  out += "namespace " + std::string(name) + " {\n\n";
  out += "inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, " + sparse + "> config{\n";
  out += "    .d_model = " + text(c.hidden_size) + ",\n";
  out += "    .vocab_size = " + text(c.vocab_size) + ",\n";
  out += "    .layers = " + layers + ",\n";
  out += "    .attention = " + attention + ",\n";
  out += "    .recurrent = " + recurrent + ",\n";
  out += "    .dense = {.d_ff = " + text(c.intermediate_size) + "},\n";
  if (!c.dense())
    out += "    .sparse = {.d_ff = " + text(c.intermediate_size) + ", .num_experts = " + text(c.num_experts) +
           ", .top_k = " + text(c.num_experts_per_tok) + "},\n";
  plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> const defaults;
  if (c.rms_norm_eps < defaults.norm_eps || c.rms_norm_eps > defaults.norm_eps)
    out += "    .norm_eps = " + float_text(c.rms_norm_eps) + "f,\n";
  if (c.tie_word_embeddings != defaults.tie_embeddings) out += std::string("    .tie_embeddings = ") + truth(c.tie_word_embeddings) + ",\n";
  out += "};\n\ntemplate <class Execution = plait::exec::cpu<>>\nusing model = plait::model<config, Execution>;\n\n";
  out += "}  // namespace " + std::string(name) + "\n";
  return out;
}

/// One comparison of a config.json with an architecture; every mismatch is a plait::error with the file, the key and both values.
class architecture_check {
 public:
  explicit architecture_check(jamba_config const& c) : c_(c) {}

  void same(char const* key, int found, int built) const {
    if (found != built) differ(key, std::to_string(found), std::to_string(built));
  }
  void same(char const* key, bool found, bool built) const {
    if (found != built) differ(key, found ? "true" : "false", built ? "true" : "false");
  }
  void same(char const* key, float found, float built) const {
    if (found < built || found > built || built != built) differ(key, float_text(found), float_text(built));
  }
  void jamba_has(bool condition, char const* built) const {
    if (!condition) fail(c_.file, std::string("describes a Jamba, but this model was built with ") + built);
  }

  // The knobs of one policy, whether it is placed anywhere or not. A policy that Jamba does not have can only be misplaced.
  void knobs(attention const& p, int d_model) const {
    same("num_attention_heads", c_.num_attention_heads, p.num_heads);
    same("num_key_value_heads", c_.num_key_value_heads, p.num_kv_heads);
    same("head_dim", c_.head_dim, p.dim(d_model));
    jamba_has(p.positions == positions::none, "rotary positions, which Jamba has not");
  }
  void knobs(mamba const& p, int d_model) const {
    same("mamba_d_state", c_.mamba_d_state, p.d_state);
    same("mamba_d_conv", c_.mamba_d_conv, p.d_conv);
    same("mamba_expand", c_.mamba_expand, p.expand);
    same("mamba_dt_rank", c_.mamba_dt_rank, p.rank(d_model));
    same("mamba_conv_bias", c_.mamba_conv_bias, p.conv_bias);
    same("mamba_proj_bias", c_.mamba_proj_bias, p.proj_bias);
    jamba_has(p.inner_norms, "Mamba layers without inner norms, which Jamba has");
  }
  void knobs(mlp const& p, int) const { same("intermediate_size", c_.intermediate_size, p.d_ff); }
  void knobs(moe const& p, int) const {
    if (c_.dense()) return;  // then it must not be placed, and what it would be does not matter
    same("intermediate_size", c_.intermediate_size, p.d_ff);
    same("num_experts", c_.num_experts, p.num_experts);
    same("num_experts_per_tok", c_.num_experts_per_tok, p.top_k);
    jamba_has(p.weights == gate_weights::as_they_are, "renormalised expert weights, which Jamba has not");
  }
  template <class Policy>
  void knobs(Policy const&, int) const {}

  template <class Mixer, class Ffn>
  void placement(int layer, Mixer const&, Ffn const&) const {
    bool const attends = c_.attends(layer), routes = c_.routes(layer);
    if (!(attends ? std::is_same_v<Mixer, attention> : std::is_same_v<Mixer, mamba>))
      misplaced(
          "attn_layer_period is " + std::to_string(c_.attn_layer_period) + " and attn_layer_offset " + std::to_string(c_.attn_layer_offset),
          layer, attends ? "attention" : "mamba", kind<Mixer>());
    if (!(routes ? std::is_same_v<Ffn, moe> : std::is_same_v<Ffn, mlp>))
      misplaced("num_experts is " + std::to_string(c_.num_experts) +
                    (c_.dense() ? std::string()
                                : ", expert_layer_period " + std::to_string(c_.expert_layer_period) + " and expert_layer_offset " +
                                      std::to_string(c_.expert_layer_offset)),
                layer, routes ? "moe" : "mlp", kind<Ffn>());
  }

 private:
  [[noreturn]] void differ(char const* key, std::string const& found, std::string const& built) const {
    fail(c_.file, std::string(key) + " is " + found + ", but this model was built for " + built);
  }
  [[noreturn]] void misplaced(std::string const& keys, int layer, char const* found, char const* built) const {
    fail(c_.file,
         keys + ", which puts " + found + " in layer " + std::to_string(layer) + ", but this model was built with " + built + " there");
  }
  template <class Policy>
  static constexpr char const* kind() {
    if constexpr (std::is_same_v<Policy, attention>) return "attention";
    else if constexpr (std::is_same_v<Policy, mamba>) return "mamba";
    else if constexpr (std::is_same_v<Policy, mlp>) return "mlp";
    else if constexpr (std::is_same_v<Policy, moe>) return "moe";
    else if constexpr (std::is_same_v<Policy, none>) return "nothing";
    else return "another component";
  }

  jamba_config const& c_;
};

/// Throws plait::error unless architecture `a` (a hybrid, or any type with the same members) is the one config.json describes:
/// sizes, knobs of every slot that is not `none`, and layer by layer what sits where, however the pattern is spelt.
template <class Architecture>
void require_same(jamba_config const& c, Architecture const& a) {
  architecture_check const check(c);
  check.same("hidden_size", c.hidden_size, a.d_model);
  check.same("vocab_size", c.vocab_size, a.vocab_size);
  check.same("num_hidden_layers", c.num_hidden_layers, a.num_layers());
  check.same("rms_norm_eps", c.rms_norm_eps, a.norm_eps);
  check.same("tie_word_embeddings", c.tie_word_embeddings, a.tie_embeddings);
  auto const all = [&](auto const&... policy) { (check.knobs(policy, a.d_model), ...); };
  std::apply(all, a.mixers());
  std::apply(all, a.ffns());
  for (int i = 0; i < c.num_hidden_layers; ++i)
    visit_layer(a, i, [&](auto const& mixer, auto const& ffn) { check.placement(i, mixer, ffn); });
}

}  // namespace plait::io
