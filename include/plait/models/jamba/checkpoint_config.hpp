// The config.json of a Jamba checkpoint.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The values of config.json under its own names, with published defaults for missing keys; "auto"
/// and null are resolved.
/// Equation: layer i has attention if i mod attn_layer_period = attn_layer_offset, and experts if i
///   mod expert_layer_period = expert_layer_offset; mamba_dt_rank absent or "auto" is hidden_size /
///   16, rounded up; num_experts of 0 or 1 makes every feed-forward dense; heads as in
///   config_reader.hpp
/// Shapes: widths in values, periods and offsets in layers. 2 mamba_expand hidden_size and
///   mamba_dt_rank + 2 mamba_d_state are less than 2^31
/// Errors: those of config_reader.hpp, and:
///   - `expected "auto" or an integer`: mamba_dt_rank, after `KEY is VALUE;`
///   - `expected no negative number`: initializer_range, after `KEY is VALUE;`
///   - `… is …, not below …`: an offset and its period
/// Cost: reads the file once
/// Source: transformers' JambaConfig
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp, tests/checks/fuzz/config.cpp
struct jamba_config {
  std::string file;  ///< for error messages
  int vocab_size = 65536;
  int hidden_size = 4096;
  int intermediate_size = 14336;
  int num_hidden_layers = 32;
  int num_attention_heads = 32;
  int num_key_value_heads = 8;
  int head_dim = 128;
  int num_experts = 16;
  int num_experts_per_tok = 2;
  int expert_layer_period = 2;
  int expert_layer_offset = 1;
  int attn_layer_period = 8;
  int attn_layer_offset = 4;
  int mamba_d_state = 16;
  int mamba_d_conv = 4;
  int mamba_expand = 2;
  int mamba_dt_rank = 256;
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;
  bool tie_word_embeddings = false;
  float rms_norm_eps = 1e-6f;
  double initializer_range = 0.02;
  int max_position_embeddings = 262144;
  std::optional<int> bos_token_id = 1;
  std::vector<int> eos_token_id{2};

  bool dense() const { return num_experts <= 1; }
  bool attends(int layer) const { return layer % attn_layer_period == attn_layer_offset; }
  bool routes(int layer) const {
    return !dense() && layer % expert_layer_period == expert_layer_offset;
  }
};

/// Reads a Jamba's config.json; throws plait::error with file, key and value for one that plait
/// cannot run.
inline jamba_config parse_jamba_config(config_file const& from) {
  std::string const& file = from.file();
  config_reader const in(from);
  jamba_config c;
  c.file = file;

  in.require_model_type("jamba");
  in.require_silu_over_all_keys();
  bool inner_norms = true;
  in.read("mamba_inner_layernorms", inner_norms);
  if (!inner_norms)
    fail(file,
         "mamba_inner_layernorms is false; Jamba's Mamba layers have these norms, expected true");

  in.read("vocab_size", c.vocab_size, 1);
  in.read("hidden_size", c.hidden_size, 1);
  in.read("intermediate_size", c.intermediate_size, 1);
  in.read("num_hidden_layers", c.num_hidden_layers, 1);
  in.read("max_position_embeddings", c.max_position_embeddings, 1);
  in.read_heads(c);

  in.read("num_experts", c.num_experts, 0);
  in.read("num_experts_per_tok", c.num_experts_per_tok, c.dense() ? 0 : 1);
  if (!c.dense() && c.num_experts_per_tok > c.num_experts)
    fail(file, "num_experts_per_tok is {}, more than num_experts, {}", c.num_experts_per_tok,
         c.num_experts);
  in.read("expert_layer_period", c.expert_layer_period, 1);
  in.read("expert_layer_offset", c.expert_layer_offset, 0);
  in.read("attn_layer_period", c.attn_layer_period, 1);
  in.read("attn_layer_offset", c.attn_layer_offset, 0);
  auto const require_below = [&](char const* offset_key, int offset, char const* period_key,
                                 int period) {
    if (offset >= period)
      fail(file, "{} is {}, not below {}, {}", offset_key, offset, period_key, period);
  };
  require_below("attn_layer_offset", c.attn_layer_offset, "attn_layer_period", c.attn_layer_period);
  require_below("expert_layer_offset", c.expert_layer_offset, "expert_layer_period",
                c.expert_layer_period);

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
  in.read_positive("rms_norm_eps", c.rms_norm_eps);
  in.read("initializer_range", c.initializer_range);
  if (c.initializer_range < 0)
    in.refuse("initializer_range", *in.find("initializer_range"), "expected no negative number");

  if (auto const* const bos = in.find("bos_token_id"))
    c.bos_token_id =
        bos->is_null()
            ? std::nullopt
            : std::optional(in.integer(*bos, "bos_token_id", std::numeric_limits<int>::min()));
  in.read_ids("eos_token_id", c.eos_token_id);

  // The input projection has 2 mamba_expand hidden_size rows. Two checks, since the product of
  // three factors may exceed 64 bits.
  in.require_fits("mamba_expand * hidden_size", std::int64_t{c.mamba_expand} * c.hidden_size);
  in.require_fits("2 * mamba_expand * hidden_size",
                  2 * std::int64_t{c.mamba_expand} * c.hidden_size);
  in.require_fits("mamba_dt_rank + 2 * mamba_d_state",
                  std::int64_t{c.mamba_dt_rank} + 2 * std::int64_t{c.mamba_d_state});
  return c;
}

inline jamba_config parse_jamba_config(std::string_view text, std::string const& file) {
  return parse_jamba_config(config_file(text, file));
}

/// Reads the config.json of a checkpoint directory, or the file itself.
inline jamba_config read_jamba_config(std::string const& path) {
  return parse_jamba_config(config_file(path));
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
