// models/jamba/checkpoint_config.hpp and models/jamba/checkpoint.hpp.
#include <support/files.hpp>

#include <plait/models/jamba/checkpoint.hpp>
#include <plait/policy.hpp>

#include <nlohmann/json.hpp>

using plait::io::architecture_source;
using plait::io::jamba_config;
using plait::io::parse_jamba_config;
using plait::io::read_jamba_config;
using plait::io::require_same;
using namespace plait;
using namespace plait::test;

namespace {

/// The published v0.1 with some keys changed; a null in `patch` removes, as a JSON merge patch
/// does.
std::string patched(std::string_view patch) {
  auto j = nlohmann::json::parse(contents(golden("jamba_v0_1.config.json")));
  j.merge_patch(nlohmann::json::parse(patch));
  return j.dump();
}
jamba_config with(std::string_view patch) {
  return parse_jamba_config(patched(patch), "dir/config.json");
}
jamba_config parse(std::string_view text) { return parse_jamba_config(text, "dir/config.json"); }

/// Keys that can only be given in full, as null removes a key from a patch.
std::string of(std::string_view pairs) {
  return R"({"model_type": "jamba", )" + std::string(pairs) + "}";
}

jamba_config reasoning_3b() {
  return with(
      R"({"hidden_size": 2560, "intermediate_size": 8192, "num_hidden_layers": 28,
          "num_attention_heads": 20, "num_key_value_heads": 1,
                  "num_experts": 1, "num_experts_per_tok": 1, "attn_layer_period": 14,
                      "attn_layer_offset": 7, "mamba_dt_rank": 160,
                  "tie_word_embeddings": true, "eos_token_id": [2, 519]})");
}

bool has(std::string const& text, std::string_view part) { return contains(text, part); }

}  // namespace

TEST_CASE("config.json: v0.1's published file equals the defaults") {
  for (jamba_config const& c :
       {read_jamba_config(golden("jamba_v0_1.config.json")), parse(R"({"model_type": "jamba"})")}) {
    CHECK(c.vocab_size == 65536);
    CHECK(c.hidden_size == 4096);
    CHECK(c.intermediate_size == 14336);
    CHECK(c.num_hidden_layers == 32);
    CHECK(c.num_attention_heads == 32);
    CHECK(c.num_key_value_heads == 8);
    CHECK(c.head_dim == 128);
    CHECK(c.num_experts == 16);
    CHECK(c.num_experts_per_tok == 2);
    CHECK(c.expert_layer_period == 2);
    CHECK(c.expert_layer_offset == 1);
    CHECK(c.attn_layer_period == 8);
    CHECK(c.attn_layer_offset == 4);
    CHECK(c.mamba_d_state == 16);
    CHECK(c.mamba_d_conv == 4);
    CHECK(c.mamba_expand == 2);
    CHECK(c.mamba_dt_rank == 256);
    CHECK(c.mamba_conv_bias);
    CHECK_FALSE(c.mamba_proj_bias);
    CHECK_FALSE(c.tie_word_embeddings);
    CHECK(c.rms_norm_eps == 1e-6f);
    CHECK(c.initializer_range == 0.02);
    CHECK(c.bos_token_id == 1);
    CHECK(c.eos_token_id == std::vector<int>{2});
  }
}

TEST_CASE("config.json: defaults are resolved") {
  CHECK(parse(of(R"("num_key_value_heads": null)")).num_key_value_heads == 32);
  CHECK(parse(of(R"("head_dim": null)")).head_dim == 128);
  CHECK(with(R"({"head_dim": 24})").head_dim == 24);
  CHECK(
      with(R"({"hidden_size": 40, "num_attention_heads": 3, "num_key_value_heads": 1})").head_dim ==
      13);
  CHECK(with(R"({"hidden_size": 52, "mamba_dt_rank": "auto"})").mamba_dt_rank == 4);
  CHECK(with(R"({"hidden_size": 52, "mamba_dt_rank": 7})").mamba_dt_rank == 7);
  CHECK(parse(of(R"("hidden_size": 1600)")).mamba_dt_rank == 100);
  CHECK(with(R"({"eos_token_id": [2, 519]})").eos_token_id == std::vector<int>{2, 519});
  CHECK(with(R"({"eos_token_id": 519})").eos_token_id == std::vector<int>{519});
  CHECK(parse(of(R"("eos_token_id": null, "bos_token_id": null)")).eos_token_id.empty());
  CHECK(with(R"({"rms_norm_eps": 1e-05})").rms_norm_eps == 1e-5f);
  CHECK(with(R"({"initializer_range": 1})").initializer_range == 1.0);
  CHECK(with(R"({"num_experts": 0, "num_experts_per_tok": 0})").dense());
  CHECK(with(R"({"num_experts": 1, "num_experts_per_tok": 2})").dense());
  CHECK_NOTHROW(parse(of(
      R"("sliding_window": null, "mamba_inner_layernorms": true, "n_ctx": 5,
          "auto_map": {"a": [1]}, "dtype": 3, "torch_dtype": null)")));
}

TEST_CASE("config.json: unsupported features are refused by name") {
  PLAIT_REFUSED(parse("{}"), "dir/config.json: has no model_type");
  PLAIT_REFUSED(parse(R"({"model_type": "llama"})"),
                R"(dir/config.json: model_type is "llama"; plait reads "jamba")");
  PLAIT_REFUSED(parse(R"({"model_type": null})"), "model_type is null");
  PLAIT_REFUSED(parse(R"({"model_type": ["jamba"]})"), "model_type is an array");
  PLAIT_REFUSED(with(R"({"hidden_act": "gelu"})"), R"(hidden_act is "gelu"; plait has "silu")");
  PLAIT_REFUSED(with(R"({"hidden_act": 1})"), "hidden_act is 1");
  PLAIT_REFUSED(with(R"({"sliding_window": 4096})"), "sliding_window is 4096");
  PLAIT_REFUSED(with(R"({"mamba_inner_layernorms": false})"), "mamba_inner_layernorms is false");
  PLAIT_REFUSED(with(R"({"mamba_inner_layernorms": 1})"),
                "mamba_inner_layernorms is 1; expected true or false");
  PLAIT_REFUSED(parse("[]"), "is not a JSON object");
  PLAIT_REFUSED(parse("{"), "not valid JSON");
}

TEST_CASE("config.json: integers are checked for type and range") {
  for (char const* const key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "num_experts_per_tok",
        "expert_layer_period", "attn_layer_period", "mamba_d_state", "mamba_d_conv", "mamba_expand",
        "mamba_dt_rank", "max_position_embeddings"})
    for (char const* const value :
         {"0", "-1", "1.0", "1e3", "true", "[1]", "{}", "2147483648", "18446744073709551615",
          "-9223372036854775808", "1e400", "99999999999999999999", "\"12\""}) {
      std::string const message =
          refusal([&] { parse(of('"' + std::string(key) + "\": " + value)); });
      INFO(key, " ", value, " ", message);
      CHECK(has(message, "dir/config.json: "));
      CHECK((has(message, std::string(key) + " is ") || has(message, "not valid JSON")));
    }
  PLAIT_REFUSED(with(R"({"hidden_size": 64.0})"),
                "dir/config.json: hidden_size is 64.0; expected an integer from 1 to 2147483647");
  PLAIT_REFUSED(with(R"({"hidden_size": "64"})"), R"(hidden_size is "64"; expected an integer)");
  PLAIT_REFUSED(parse(of(R"("hidden_size": null)")), "hidden_size is null");
  PLAIT_REFUSED(with(R"({"num_experts": -1})"), "num_experts is -1; expected an integer from 0");
  PLAIT_REFUSED(with(R"({"mamba_dt_rank": "Auto"})"), R"(mamba_dt_rank is "Auto")");
  PLAIT_REFUSED(with(R"({"eos_token_id": [2, "x"]})"), R"(eos_token_id is "x")");
  PLAIT_REFUSED(with(R"({"eos_token_id": 2.0})"), "eos_token_id is 2.0");
  PLAIT_REFUSED(with(R"({"bos_token_id": "1"})"), "bos_token_id");
  PLAIT_REFUSED(with(R"({"tie_word_embeddings": 1})"),
                "tie_word_embeddings is 1; expected true or false");
  PLAIT_REFUSED(with(R"({"mamba_conv_bias": "true"})"), R"(mamba_conv_bias is "true")");
  PLAIT_REFUSED(with(R"({"mamba_proj_bias": 0})"), "mamba_proj_bias is 0");
}

TEST_CASE("config.json: reals") {
  for (char const* const eps : {"0", "-1e-6", "1e-60", "1e60", "\"1e-6\"", "null", "true"}) {
    std::string const message =
        refusal([&] { parse(of(R"("rms_norm_eps": )" + std::string(eps))); });
    INFO(eps, " ", message);
    CHECK(has(message, "rms_norm_eps is "));
  }
  PLAIT_REFUSED(with(R"({"initializer_range": -0.02})"), "initializer_range is -0.02");
  PLAIT_REFUSED(with(R"({"initializer_range": "x"})"), "initializer_range");
}

TEST_CASE("config.json: relations between keys") {
  PLAIT_REFUSED(with(R"({"attn_layer_offset": 8})"),
                "attn_layer_offset is 8, not below attn_layer_period, 8");
  PLAIT_REFUSED(with(R"({"attn_layer_offset": -1})"), "attn_layer_offset is -1");
  PLAIT_REFUSED(with(R"({"expert_layer_offset": 2})"),
                "expert_layer_offset is 2, not below expert_layer_period, 2");
  PLAIT_REFUSED(with(R"({"num_attention_heads": 30})"),
                "num_attention_heads is 30, not a multiple of num_key_value_heads, 8");
  PLAIT_REFUSED(with(R"({"num_attention_heads": 4})"), "num_attention_heads is 4, not a multiple");
  PLAIT_REFUSED(with(R"({"num_experts_per_tok": 17})"),
                "num_experts_per_tok is 17, more than num_experts, 16");
  PLAIT_REFUSED(with(R"({"hidden_size": 16})"),
                "hidden_size is 16, less than num_attention_heads, 32");
  PLAIT_REFUSED(with(R"({"mamba_expand": 2147483647, "hidden_size": 2147483647})"),
                "mamba_expand * hidden_size is 4611686014132420609");
  PLAIT_REFUSED(with(R"({"mamba_expand": 262144})"),
                "2 * mamba_expand * hidden_size is 2147483648");
  PLAIT_REFUSED(with(R"({"head_dim": 67108864})"), "num_attention_heads * head_dim is 2147483648");
  PLAIT_REFUSED(with(R"({"mamba_d_state": 2147483647})"), "mamba_dt_rank + 2 * mamba_d_state");
}

TEST_CASE("config.json: files and directories") {
  temporary_directory const dir;
  PLAIT_REFUSED(read_jamba_config(dir.path()), dir / "config.json", "No such file");
  dir.write("config.json", R"({"model_type": "jamba", "hidden_size": 64})");
  CHECK(read_jamba_config(dir.path()).hidden_size == 64);
  CHECK(read_jamba_config(dir.path() + "/").hidden_size == 64);
  CHECK(read_jamba_config(dir / "config.json").file == dir / "config.json");
  std::filesystem::resize_file(dir / "config.json", (16 << 20) + 1);
  PLAIT_REFUSED(read_jamba_config(dir.path()),
                "config.json: has 16777217 bytes; at most 16777216 are read");
}

TEST_CASE("architecture_source: the published configurations") {
  std::string const source =
      architecture_source(read_jamba_config(golden("jamba_v0_1.config.json")));
  CHECK(has(source, "#pragma once\n"));
  CHECK(has(source, "namespace checkpoint_architecture {"));
  CHECK(has(
      source,
      R"(inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe>)"
      R"( config{
    .d_model = 4096,
    .vocab_size = 65536,
    .layers = {.blocks = 4, .layers_per_block = 8, .attend = 1, .recur = 7, .moe_every = 2},
    .attention = {.num_heads = 32, .num_kv_heads = 8},
    .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 256},
    .dense = {.d_ff = 14336},
    .sparse = {.d_ff = 14336, .num_experts = 16, .top_k = 2},
};
)"));
  CHECK(has(architecture_source(reasoning_3b(), "small"), R"(config{
    .d_model = 2560,
    .vocab_size = 65536,
    .layers = {.blocks = 2, .layers_per_block = 14, .attend = 1, .recur = 13},
    .attention = {.num_heads = 20, .num_kv_heads = 1},
    .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 160},
    .dense = {.d_ff = 8192},
    .tie_embeddings = true,
};
)"));
  CHECK(has(architecture_source(reasoning_3b(), "small"), "plait::mlp, plait::none> config{"));
}

TEST_CASE("architecture_source: members equal to their defaults are left out") {
  std::string const bias = architecture_source(read_jamba_config(golden("tiny-bias")));
  CHECK(has(bias, ".dt_rank = 4, .conv_bias = false, .proj_bias = true}"));
  CHECK(has(bias, ".tie_embeddings = true,"));
  std::string const odd = architecture_source(read_jamba_config(golden("tiny-16")));
  CHECK(has(odd, ".norm_eps = 1e-05f,"));
  CHECK(has(odd, ".moe_every = 2, .attend_offset = 1, .moe_offset = 0}"));
  std::string const dim = architecture_source(read_jamba_config(golden("tiny-headdim")));
  CHECK(has(dim,
            "{.blocks = 1, .layers_per_block = 5, .attend = 1, .recur = 2, .moe_every = 2, "
            ".moe_offset = 0}"));
  CHECK(has(dim, ".head_dim = 24}"));
  CHECK(has(architecture_source(
                with(R"({"hidden_size": 40, "num_attention_heads": 3, "num_key_value_heads": 1})")),
            ".head_dim = 13}"));
  CHECK(has(architecture_source(with(R"({"rms_norm_eps": 1})")), ".norm_eps = 1e+00f,"));
  CHECK(has(architecture_source(with(R"({"num_hidden_layers": 12})")),
            "{.blocks = 1, .layers_per_block = 12, .attend = 1, .recur = 7, .moe_every = 2}"));
  CHECK(has(architecture_source(with(
                R"({"attn_layer_period": 6, "expert_layer_period": 4, "num_hidden_layers": 24,
              "expert_layer_offset": 3})")),
            "{.blocks = 2, .layers_per_block = 12, .attend = 1, .recur = 5, .moe_every = 4, "
            ".attend_offset = 4}"));
  CHECK(has(architecture_source(with(
                R"({"attn_layer_period": 1, "attn_layer_offset": 0, "expert_layer_period": 1,
              "expert_layer_offset": 0})")),
            "{.blocks = 32, .layers_per_block = 1, .attend = 1, .recur = 0, .moe_every = 1}"));
  CHECK(has(architecture_source(
                with(R"({"attn_layer_period": 2147483647, "expert_layer_period": 2147483646})")),
            "{.blocks = 1, .layers_per_block = 32, .attend = 1, .recur = 2147483646, .moe_every = "
            "2147483646, .attend_offset = 4, "
            ".moe_offset = 1}"));
}

TEST_CASE("architecture_source: the namespace is an identifier") {
  jamba_config const c = parse(R"({"model_type": "jamba"})");
  CHECK(has(architecture_source(c, "Mine_2"), "namespace Mine_2 {"));
  for (std::string_view const name : {"", "2x", "class", "a-b", "a::b", "a b", "x;", "_x", "a__b",
                                      "std", "plait", "co_await", "x\n", "\xc3\xa9"})
    PLAIT_REFUSED(architecture_source(c, name), "cannot be a namespace");
}

TEST_CASE("require_same: the published configurations") {
  jamba_config const v0_1 = read_jamba_config(golden("jamba_v0_1.config.json"));
  CHECK_NOTHROW(require_same(v0_1, configs::jamba_v0_1));
  CHECK_NOTHROW(require_same(reasoning_3b(), configs::jamba_reasoning_3b));
  PLAIT_REFUSED(require_same(v0_1, configs::jamba_reasoning_3b),
                "hidden_size is 4096, but this model was built for 2560");
  PLAIT_REFUSED(require_same(v0_1, configs::jamba_1_5_large),
                "hidden_size is 4096, but this model was built for 8192");
}

TEST_CASE("require_same: each hyperparameter is refused with its key and both values") {
  auto const refused = [](std::string_view patch) {
    return refusal([&] { require_same(with(patch), configs::jamba_v0_1); });
  };
  CHECK(refused("{}") == "");
  CHECK(refused(R"({"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2})") ==
        "dir/config.json: hidden_size is 64, but this model was built for 4096");
  CHECK(
      has(refused(R"({"vocab_size": 7})"), "vocab_size is 7, but this model was built for 65536"));
  CHECK(has(refused(R"({"num_hidden_layers": 40})"),
            "num_hidden_layers is 40, but this model was built for 32"));
  CHECK(has(refused(R"({"num_attention_heads": 16})"),
            "num_attention_heads is 16, but this model was built for 32"));
  CHECK(has(refused(R"({"num_key_value_heads": 4})"),
            "num_key_value_heads is 4, but this model was built for 8"));
  CHECK(has(refused(R"({"head_dim": 64})"), "head_dim is 64, but this model was built for 128"));
  CHECK(has(refused(R"({"intermediate_size": 5})"),
            "intermediate_size is 5, but this model was built for 14336"));
  CHECK(has(refused(R"({"num_experts": 8})"), "num_experts is 8, but this model was built for 16"));
  CHECK(has(refused(R"({"num_experts_per_tok": 1})"),
            "num_experts_per_tok is 1, but this model was built for 2"));
  CHECK(has(refused(R"({"mamba_d_state": 8})"),
            "mamba_d_state is 8, but this model was built for 16"));
  CHECK(
      has(refused(R"({"mamba_d_conv": 3})"), "mamba_d_conv is 3, but this model was built for 4"));
  CHECK(
      has(refused(R"({"mamba_expand": 1})"), "mamba_expand is 1, but this model was built for 2"));
  CHECK(has(refused(R"({"mamba_dt_rank": 160})"),
            "mamba_dt_rank is 160, but this model was built for 256"));
  CHECK(has(refused(R"({"mamba_conv_bias": false})"),
            "mamba_conv_bias is false, but this model was built for true"));
  CHECK(has(refused(R"({"mamba_proj_bias": true})"),
            "mamba_proj_bias is true, but this model was built for false"));
  CHECK(has(refused(R"({"rms_norm_eps": 1e-05})"),
            "rms_norm_eps is 1e-05, but this model was built for 1e-06"));
  CHECK(has(refused(R"({"tie_word_embeddings": true})"),
            "tie_word_embeddings is true, but this model was built for false"));
  CHECK(has(refused(R"({"attn_layer_offset": 3})"),
            "attn_layer_period is 8 and attn_layer_offset 3, which puts attention in layer 3, but "
            "this model was built with mamba there"));
  CHECK(has(refused(R"({"attn_layer_period": 16})"),
            "attn_layer_offset 4, which puts mamba in layer 12, but this model was built with "
            "attention there"));
  CHECK(has(refused(R"({"expert_layer_offset": 0})"),
            "expert_layer_period 2 and expert_layer_offset 0, which puts moe in layer 0, but this "
            "model was built with mlp there"));
  CHECK(
      has(refused(R"({"num_experts": 1})"),
          "num_experts is 1, which puts mlp in layer 1, but this model was built with moe there"));
}

TEST_CASE("require_same: equivalent spellings of a schedule") {
  auto other = configs::jamba_v0_1;
  other.layers = {.blocks = 1,
                  .layers_per_block = 32,
                  .attend = 1,
                  .recur = 7,
                  .moe_every = 2,
                  .attend_offset = 4,
                  .moe_offset = 1};
  other.attention.head_dim = 128;
  other.recurrent.dt_rank = 0;
  CHECK_NOTHROW(require_same(with("{}"), other));
  other.layers.recur = 15;
  PLAIT_REFUSED(require_same(with("{}"), other), "attn_layer_period is 8", "layer 12");
}

TEST_CASE("require_same: empty slots, unused slots, and features Jamba does not have") {
  jamba_config const recurrent =
      with(R"({"num_hidden_layers": 4})");  // the first attention layer would be the fifth
  constexpr hybrid<none, mamba, mlp, moe> no_attention{
      .d_model = 4096,
      .vocab_size = 65536,
      .layers = {.blocks = 1, .layers_per_block = 4, .recur = 1, .moe_every = 2},
      .recurrent = {.dt_rank = 256},
      .dense = {.d_ff = 14336},
      .sparse = {.d_ff = 14336, .num_experts = 16, .top_k = 2}};
  CHECK_NOTHROW(require_same(recurrent, no_attention));
  PLAIT_REFUSED(require_same(with("{}"), no_attention), "num_hidden_layers");
  jamba_config early = recurrent;
  early.attn_layer_offset = 2;
  PLAIT_REFUSED(require_same(early, no_attention),
                "which puts attention in layer 2, but this model was built with mamba there");

  auto unused = configs::jamba_v0_1;  // the slot is there and never used: its hyperparameters count
                                      // all the same
  unused.layers.blocks = 1;
  unused.layers.layers_per_block = 4;
  CHECK_NOTHROW(require_same(recurrent, unused));
  unused.attention.num_heads = 16;
  PLAIT_REFUSED(require_same(recurrent, unused),
                "num_attention_heads is 32, but this model was built for 16");

  jamba_config const dense = with(R"({"num_experts": 1})");
  auto routes_nowhere = configs::jamba_v0_1;
  routes_nowhere.layers.moe_every = 0;
  CHECK_NOTHROW(require_same(dense, routes_nowhere));
  PLAIT_REFUSED(require_same(with("{}"), routes_nowhere),
                "which puts moe in layer 1, but this model was built with mlp there");

  constexpr hybrid<attention, mamba, none, none> no_ffn{
      .d_model = 4096,
      .vocab_size = 65536,
      .layers = {.blocks = 4, .layers_per_block = 8, .attend = 1, .recur = 7},
      .attention = {.num_heads = 32, .num_kv_heads = 8},
      .recurrent = {.dt_rank = 256}};
  PLAIT_REFUSED(require_same(dense, no_ffn),
                "which puts mlp in layer 0, but this model was built with nothing there");

  auto rotary = configs::jamba_v0_1;
  rotary.attention.positions = positions::rotary;
  PLAIT_REFUSED(require_same(with("{}"), rotary), "rotary positions");
  auto renormalised = configs::jamba_v0_1;
  renormalised.sparse.weights = router_weights::renormalised;
  PLAIT_REFUSED(require_same(with("{}"), renormalised), "renormalised expert weights");
  auto plain = configs::jamba_v0_1;
  plain.recurrent.inner_norms = false;
  PLAIT_REFUSED(require_same(with("{}"), plain), "without inner norms");
}

TEST_CASE("config.json: every golden checkpoint") {
  for (char const* const name : {"tiny", "tiny-16", "tiny-bias", "tiny-dense", "tiny-f16",
                                 "tiny-headdim", "tiny-padded", "tiny-placement"}) {
    jamba_config const c = read_jamba_config(golden(name));
    CHECK(c.head_dim > 0);
    CHECK(has(architecture_source(c), ".d_model = " + std::to_string(c.hidden_size) + ","));
  }
  jamba_config const f16 = read_jamba_config(golden("tiny-f16"));  // has keys missing
  CHECK(f16.rms_norm_eps == 1e-6f);
  CHECK(f16.mamba_expand == 2);
}
