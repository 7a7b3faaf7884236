// config.json of a Jamba checkpoint, as numbers.
#pragma once

#include <plait/io/json.hpp>
#include <plait/io/mapped_file.hpp>

#include <sys/stat.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plait::io {

/// What config.json says, under its own names, with the published defaults for missing keys and nothing left to resolve: "auto", null
/// and absent values are numbers here.
struct jamba_config {
  std::string file;  ///< for messages
  int vocab_size = 65536, hidden_size = 4096, intermediate_size = 14336, num_hidden_layers = 32;
  int num_attention_heads = 32, num_key_value_heads = 8, head_dim = 128;
  int num_experts = 16, num_experts_per_tok = 2;  ///< num_experts of 0 or 1: every feed-forward is dense
  int expert_layer_period = 2, expert_layer_offset = 1, attn_layer_period = 8, attn_layer_offset = 4;
  int mamba_d_state = 16, mamba_d_conv = 4, mamba_expand = 2, mamba_dt_rank = 256;
  bool mamba_conv_bias = true, mamba_proj_bias = false, tie_word_embeddings = false;
  float rms_norm_eps = 1e-6f;
  double initializer_range = 0.02;
  int max_position_embeddings = 262144;
  std::optional<int> bos_token_id = 1;
  std::vector<int> eos_token_id{2};

  bool dense() const { return num_experts <= 1; }
  bool attends(int layer) const { return layer % attn_layer_period == attn_layer_offset; }
  bool routes(int layer) const { return !dense() && layer % expert_layer_period == expert_layer_offset; }
};

inline constexpr std::size_t max_config_bytes = std::size_t{16} << 20;

/// Typed access to the keys of one JSON object; every refusal names file, key and value.
class config_reader {
 public:
  config_reader(nlohmann::json const& root, std::string const& file) : root_(root), file_(file) {}

  /// nullptr if absent; a JSON null is a value.
  nlohmann::json const* find(char const* key) const {
    auto const it = root_.find(key);
    return it == root_.end() ? nullptr : &*it;
  }
  [[noreturn]] void refuse(char const* key, nlohmann::json const& value, std::string const& expected) const {
    fail(file_, std::string(key) + " is " + text(value) + "; " + expected);
  }

  int integer(nlohmann::json const& value, char const* key, int least) const {
    constexpr int most = std::numeric_limits<int>::max();
    // the parser gives every integer that is not negative as unsigned, and those beyond 64 bits as floats
    bool const fits = value.is_number_unsigned()  ? value.get<std::uint64_t>() <= std::uint64_t{most}
                      : value.is_number_integer() ? value.get<std::int64_t>() >= std::numeric_limits<int>::min()
                                                  : false;
    if (!fits || value.get<int>() < least)
      refuse(key, value, "expected an integer from " + std::to_string(least) + " to " + std::to_string(most));
    return value.get<int>();
  }
  void read(char const* key, int& out, int least) const {
    if (auto const* const v = find(key)) out = integer(*v, key, least);
  }
  void read(char const* key, bool& out) const {
    auto const* const v = find(key);
    if (v == nullptr) return;
    if (!v->is_boolean()) refuse(key, *v, "expected true or false");
    out = v->get<bool>();
  }
  void read(char const* key, double& out) const {
    auto const* const v = find(key);
    if (v == nullptr) return;
    if (!v->is_number()) refuse(key, *v, "expected a number");
    out = v->get<double>();
  }

  /// A JSON value as messages quote it.
  static std::string text(nlohmann::json const& value) {
    if (value.is_string()) return in_quotes(value.get_ref<std::string const&>());
    if (value.is_array()) return "an array";
    if (value.is_object()) return "an object";
    return value.dump();
  }

 private:
  nlohmann::json const& root_;
  std::string const& file_;
};

/// Reads config.json's text. plait::error names `file`, key and value where it is not a Jamba that plait can run.
inline jamba_config parse_jamba_config(std::string_view text, std::string const& file) {
  nlohmann::json const root = parse_json(text, file);
  if (!root.is_object()) fail(file, "is not a JSON object");
  config_reader const in(root, file);
  jamba_config c;
  c.file = file;

  auto const* const type = in.find("model_type");
  if (type == nullptr) fail(file, "has no model_type; plait reads \"jamba\"");
  if (*type != "jamba") in.refuse("model_type", *type, "plait reads \"jamba\"");
  if (auto const* const act = in.find("hidden_act"); act != nullptr && *act != "silu") in.refuse("hidden_act", *act, "plait has \"silu\"");
  if (auto const* const window = in.find("sliding_window"); window != nullptr && !window->is_null())
    in.refuse("sliding_window", *window, "plait has attention over all keys only, expected null");
  bool inner_norms = true;
  in.read("mamba_inner_layernorms", inner_norms);
  if (!inner_norms) fail(file, "mamba_inner_layernorms is false; Jamba's Mamba layers have these norms, expected true");

  in.read("vocab_size", c.vocab_size, 1);
  in.read("hidden_size", c.hidden_size, 1);
  in.read("intermediate_size", c.intermediate_size, 1);
  in.read("num_hidden_layers", c.num_hidden_layers, 1);
  in.read("max_position_embeddings", c.max_position_embeddings, 1);

  in.read("num_attention_heads", c.num_attention_heads, 1);
  if (auto const* const heads = in.find("num_key_value_heads"); heads != nullptr && heads->is_null())
    c.num_key_value_heads = c.num_attention_heads;
  else in.read("num_key_value_heads", c.num_key_value_heads, 1);
  if (c.num_attention_heads % c.num_key_value_heads != 0)
    fail(file, "num_attention_heads is " + std::to_string(c.num_attention_heads) + ", not a multiple of num_key_value_heads, " +
                   std::to_string(c.num_key_value_heads));
  c.head_dim = c.hidden_size / c.num_attention_heads;  // rounded down, as transformers does
  if (auto const* const dim = in.find("head_dim"); dim != nullptr && !dim->is_null()) in.read("head_dim", c.head_dim, 1);
  if (c.head_dim == 0)
    fail(file, "hidden_size is " + std::to_string(c.hidden_size) + ", less than num_attention_heads, " +
                   std::to_string(c.num_attention_heads) + ", and there is no head_dim");

  in.read("num_experts", c.num_experts, 0);
  in.read("num_experts_per_tok", c.num_experts_per_tok, c.dense() ? 0 : 1);
  if (!c.dense() && c.num_experts_per_tok > c.num_experts)
    fail(file,
         "num_experts_per_tok is " + std::to_string(c.num_experts_per_tok) + ", more than num_experts, " + std::to_string(c.num_experts));
  in.read("expert_layer_period", c.expert_layer_period, 1);
  in.read("expert_layer_offset", c.expert_layer_offset, 0);
  in.read("attn_layer_period", c.attn_layer_period, 1);
  in.read("attn_layer_offset", c.attn_layer_offset, 0);
  auto const below = [&](char const* offset, int o, char const* period, int p) {
    if (o >= p) fail(file, std::string(offset) + " is " + std::to_string(o) + ", not below " + period + ", " + std::to_string(p));
  };
  below("attn_layer_offset", c.attn_layer_offset, "attn_layer_period", c.attn_layer_period);
  below("expert_layer_offset", c.expert_layer_offset, "expert_layer_period", c.expert_layer_period);

  in.read("mamba_d_state", c.mamba_d_state, 1);
  in.read("mamba_d_conv", c.mamba_d_conv, 1);
  in.read("mamba_expand", c.mamba_expand, 1);
  in.read("mamba_conv_bias", c.mamba_conv_bias);
  in.read("mamba_proj_bias", c.mamba_proj_bias);
  c.mamba_dt_rank = c.hidden_size / 16 + (c.hidden_size % 16 != 0);
  if (auto const* const rank = in.find("mamba_dt_rank"); rank != nullptr && rank->is_string()) {
    if (*rank != "auto") in.refuse("mamba_dt_rank", *rank, "expected \"auto\" or an integer");
  } else {
    in.read("mamba_dt_rank", c.mamba_dt_rank, 1);
  }

  in.read("tie_word_embeddings", c.tie_word_embeddings);
  double eps = 1e-6;
  in.read("rms_norm_eps", eps);
  c.rms_norm_eps = eps > 0 && eps < double{std::numeric_limits<float>::max()} ? static_cast<float>(eps) : 0.0f;
  if (!(c.rms_norm_eps > 0)) in.refuse("rms_norm_eps", *in.find("rms_norm_eps"), "expected a positive number that a float can hold");
  in.read("initializer_range", c.initializer_range);
  if (c.initializer_range < 0) in.refuse("initializer_range", *in.find("initializer_range"), "expected no negative number");

  constexpr int any = std::numeric_limits<int>::min();
  if (auto const* const bos = in.find("bos_token_id"))
    c.bos_token_id = bos->is_null() ? std::nullopt : std::optional(in.integer(*bos, "bos_token_id", any));
  if (auto const* const eos = in.find("eos_token_id")) {
    c.eos_token_id.clear();
    if (eos->is_array())
      for (auto const& id : *eos) c.eos_token_id.push_back(in.integer(id, "eos_token_id", any));
    else if (!eos->is_null()) c.eos_token_id.push_back(in.integer(*eos, "eos_token_id", any));
  }

  auto const fits = [&](char const* what, std::int64_t n) {
    if (n > std::numeric_limits<int>::max()) fail(file, std::string(what) + " is " + std::to_string(n) + "; expected less than 2^31");
  };
  fits("num_attention_heads * head_dim", std::int64_t{c.num_attention_heads} * c.head_dim);
  // the input projection has twice this many rows; in two steps, as three factors may exceed 64 bits
  fits("mamba_expand * hidden_size", std::int64_t{c.mamba_expand} * c.hidden_size);
  fits("2 * mamba_expand * hidden_size", 2 * std::int64_t{c.mamba_expand} * c.hidden_size);
  fits("mamba_dt_rank + 2 * mamba_d_state", std::int64_t{c.mamba_dt_rank} + 2 * std::int64_t{c.mamba_d_state});
  return c;
}

/// `path`/config.json, or `path` itself where that is not a directory.
inline std::string jamba_config_path(std::string const& path) {
  struct stat status {};
  bool const directory = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  return directory ? path + (path.ends_with('/') ? "" : "/") + "config.json" : path;
}

/// Reads a checkpoint's directory or its config.json.
inline jamba_config read_jamba_config(std::string const& path) {
  mapped_file const file(jamba_config_path(path));
  if (file.bytes().size() > max_config_bytes)
    fail(file.path(), "has " + std::to_string(file.bytes().size()) + " bytes; at most " + std::to_string(max_config_bytes) + " are read");
  return parse_jamba_config(file.text(), file.path());
}

}  // namespace plait::io
