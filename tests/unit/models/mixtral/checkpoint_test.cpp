// models/mixtral/checkpoint_config.hpp and models/mixtral/checkpoint.hpp. Built with the header
// that plait-config prints for the published Mixtral-8x7B.
#include <support/files.hpp>
#include <support/tensor_bag.hpp>

#include <plait/io/family.hpp>
#include <plait/io/files/safetensors_writer.hpp>
#include <plait/io/load.hpp>
#include <plait/policy.hpp>

#include <plait_architecture.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

using namespace plait;
using namespace plait::test;
using io::architecture_source;
using io::config_file;
using io::mixtral_config;
using io::parse_mixtral_config;
using io::require_same;

static_assert(checkpoint_architecture::config == configs::mixtral_8x7b);

namespace {

/// The published 8x7B with some keys changed; a null in `patch` removes, as a JSON merge patch
/// does.
mixtral_config with(std::string_view patch) {
  auto j = nlohmann::json::parse(contents(golden("mixtral_8x7b.config.json")));
  j.merge_patch(nlohmann::json::parse(patch));
  return parse_mixtral_config(j.dump(), "dir/config.json");
}
mixtral_config of(std::string_view pairs) {
  return parse_mixtral_config(R"({"model_type": "mixtral")" +
                                  std::string(pairs.empty() ? "" : ", ") + std::string(pairs) + "}",
                              "dir/config.json");
}

constexpr hybrid<attention, none, none, moe> small{
    .d_model = 12,
    .vocab_size = 7,
    .layers = {.blocks = 2, .layers_per_block = 1, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 1, .positions = positions::rotary},
    .sparse = {.d_ff = 5, .num_experts = 3, .top_k = 2, .weights = router_weights::renormalised},
    .norm_eps = 1e-5f,
    .rope_theta = 10000.0f};
char const* const small_config =
    R"({"model_type": "mixtral", "vocab_size": 7, "hidden_size": 12, "intermediate_size": 5,
  "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
      "num_local_experts": 3, "num_experts_per_tok": 2,
  "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})";

}  // namespace

TEST_CASE("mixtral: the published file") {
  mixtral_config const c = with("{}");
  CHECK(c.vocab_size == 32000);
  CHECK(c.hidden_size == 4096);
  CHECK(c.intermediate_size == 14336);
  CHECK(c.num_hidden_layers == 32);
  CHECK(c.num_attention_heads == 32);
  CHECK(c.num_key_value_heads == 8);
  CHECK(c.head_dim == 128);
  CHECK(c.num_local_experts == 8);
  CHECK(c.num_experts_per_tok == 2);
  CHECK_FALSE(c.tie_word_embeddings);
  CHECK(c.rms_norm_eps == 1e-5f);
  CHECK(c.rope_theta == 1e6f);
  CHECK(c.eos_token_id == std::vector<int>{2});
  CHECK_NOTHROW(require_same(c, configs::mixtral_8x7b));
  CHECK_NOTHROW(
      require_same(of(""), configs::mixtral_8x7b));  // MixtralConfig's defaults are 8x7B's sizes
}

TEST_CASE("mixtral: rope_theta in each of its places") {
  CHECK(of(R"("rope_theta": 5e5)").rope_theta == 5e5f);
  CHECK(of(R"("rope_parameters": {"rope_theta": 7, "rope_type": "default"})").rope_theta == 7);
  CHECK(of(R"("rope_parameters": {"rope_type": "default"})").rope_theta == 1e6f);
  CHECK(of(R"("rope_theta": 3, "rope_parameters": {"rope_theta": 7, "rope_type": "default"})")
            .rope_theta == 7);
  CHECK(of(R"("rope_theta": 3, "rope_parameters": {"rope_type": "default"})").rope_theta == 3);
  CHECK(of(R"("rope_theta": 3, "rope_parameters": null, "rope_scaling": null)").rope_theta == 3);
  CHECK(of(R"("rope_theta": 3, "rope_scaling": {})").rope_theta == 3);
  CHECK(of(R"("rope_scaling": {"type": "default", "rope_theta": 9},
          "rope_parameters": {"rope_theta": 7})")
            .rope_theta == 9);
  CHECK(of(R"("rope_parameters": {"partial_rotary_factor": 1.0}, "partial_rotary_factor": 1)")
            .rope_theta == 1e6f);
}

TEST_CASE("mixtral: errors name file, key and value") {
  PLAIT_REFUSED(of(R"("rope_scaling": {"type": "linear", "factor": 2.0})"),
                "dir/config.json: rope_scaling.type is \"linear\"", "\"default\"");
  PLAIT_REFUSED(of(R"("rope_scaling": {"rope_type": "yarn", "factor": 2.0})"),
                "rope_scaling.rope_type is \"yarn\"");
  PLAIT_REFUSED(of(R"("rope_parameters": {"rope_type": "dynamic", "factor": 2.0})"),
                "rope_parameters.rope_type is \"dynamic\"");
  PLAIT_REFUSED(of(R"("rope_parameters": {"rope_type": "default", "factor": 2})"),
                "rope_parameters.factor is 2", "without scaling");
  PLAIT_REFUSED(of(R"("rope_parameters": {"partial_rotary_factor": 0.5})"),
                "rope_parameters.partial_rotary_factor is 0.5");
  PLAIT_REFUSED(of(R"("partial_rotary_factor": 0.5)"), "partial_rotary_factor is 0.5");
  PLAIT_REFUSED(of(R"("rope_parameters": {"rope_theta": null})"),
                "rope_parameters.rope_theta is null", "expected a number");
  PLAIT_REFUSED(of(R"("rope_parameters": {"rope_theta": -1})"), "rope_parameters.rope_theta is -1",
                "positive");
  PLAIT_REFUSED(of(R"("rope_parameters": [1])"),
                "rope_parameters is an array; expected an object or null");
  PLAIT_REFUSED(of(R"("rope_theta": 0)"), "rope_theta is 0; expected a positive number");
  PLAIT_REFUSED(of(R"("rope_theta": "1e6")"), "rope_theta is \"1e6\"; expected a number");
  PLAIT_REFUSED(of(R"("sliding_window": 4096)"),
                "sliding_window is 4096; plait has attention over all keys only, expected null");
  CHECK_NOTHROW(of(R"("sliding_window": null)"));
  PLAIT_REFUSED(of(R"("hidden_act": "gelu")"), "hidden_act is \"gelu\"; plait has \"silu\"");
  PLAIT_REFUSED(of(R"("num_local_experts": 1, "num_experts_per_tok": 1)"), "num_local_experts is 1",
                "expected at least 2");
  PLAIT_REFUSED(of(R"("num_local_experts": 0)"),
                "num_local_experts is 0; expected an integer from 1");
  PLAIT_REFUSED(of(R"("num_experts_per_tok": 9)"),
                "num_experts_per_tok is 9, more than num_local_experts, 8");
  PLAIT_REFUSED(of(R"("num_experts_per_tok": 0)"), "num_experts_per_tok is 0");
  PLAIT_REFUSED(of(R"("head_dim": 5)"),
                "head_dim is 5; rotary positions rotate pairs of values, expected an even number");
  PLAIT_REFUSED(of(R"("hidden_size": 96)"), "head_dim is 3;");
  PLAIT_REFUSED(of(R"("num_attention_heads": 30)"),
                "num_attention_heads is 30, not a multiple of num_key_value_heads, 8");
  PLAIT_REFUSED(of(R"("head_dim": 67108864)"), "num_attention_heads * head_dim is 2147483648");
  PLAIT_REFUSED(of(R"("rms_norm_eps": 0)"), "rms_norm_eps is 0; expected a positive number");
  PLAIT_REFUSED(of(R"("tie_word_embeddings": 1)"),
                "tie_word_embeddings is 1; expected true or false");
  PLAIT_REFUSED(of(R"("vocab_size": null)"), "vocab_size is null; expected an integer");
  PLAIT_REFUSED(parse_mixtral_config(R"({"model_type": "jamba"})", "f"),
                "f: model_type is \"jamba\"; plait reads \"mixtral\"");
}

TEST_CASE("mixtral: defaults are resolved") {
  CHECK(of(R"("num_key_value_heads": null)").num_key_value_heads == 32);
  CHECK(of(R"("head_dim": null)").head_dim == 128);
  CHECK(of(R"("head_dim": 64)").head_dim == 64);
  CHECK(of(R"("num_experts": 4)").num_local_experts == 4);  // transformers' other name for it
  CHECK(of(R"("eos_token_id": [2, 5])").eos_token_id == std::vector<int>{2, 5});
}

TEST_CASE("mixtral: architecture_source leaves out members equal to their defaults") {
  std::string const source = architecture_source(
      with(R"({"tie_word_embeddings": true, "head_dim": 64, "rms_norm_eps": 1e-6})"), "mine");
  CHECK(contains(source, "namespace mine {"));
  CHECK(contains(source, ".head_dim = 64, .positions = plait::positions::rotary}"));
  CHECK(contains(source, ".tie_embeddings = true,"));
  CHECK_FALSE(contains(source, "norm_eps"));
  PLAIT_REFUSED(architecture_source(of(""), "class"), "cannot be a namespace");
}

TEST_CASE("mixtral: require_same refuses each hyperparameter with its key and both values") {
  auto const refused = [](std::string_view patch) {
    return refusal([&] { require_same(with(patch), configs::mixtral_8x7b); });
  };
  CHECK(refused("{}") == "");
  CHECK(contains(refused(R"({"hidden_size": 8192})"),
                 "dir/config.json: hidden_size is 8192, but this model was built for 4096"));
  CHECK(contains(refused(R"({"vocab_size": 7})"),
                 "vocab_size is 7, but this model was built for 32000"));
  CHECK(contains(refused(R"({"num_hidden_layers": 4})"),
                 "num_hidden_layers is 4, but this model was built for 32"));
  CHECK(contains(refused(R"({"rms_norm_eps": 1e-6})"),
                 "rms_norm_eps is 1e-06, but this model was built for 1e-05"));
  CHECK(contains(refused(R"({"rope_theta": 10000})"),
                 "rope_theta is 1e+04, but this model was built for 1e+06"));
  CHECK(contains(refused(R"({"tie_word_embeddings": true})"),
                 "tie_word_embeddings is true, but this model was built for false"));
  CHECK(contains(refused(R"({"num_attention_heads": 16})"),
                 "num_attention_heads is 16, but this model was built for 32"));
  CHECK(contains(refused(R"({"num_key_value_heads": 4})"),
                 "num_key_value_heads is 4, but this model was built for 8"));
  CHECK(
      contains(refused(R"({"head_dim": 64})"), "head_dim is 64, but this model was built for 128"));
  CHECK(contains(refused(R"({"intermediate_size": 5})"),
                 "intermediate_size is 5, but this model was built for 14336"));
  CHECK(contains(refused(R"({"num_local_experts": 4})"),
                 "num_local_experts is 4, but this model was built for 8"));
  CHECK(contains(refused(R"({"num_experts_per_tok": 1})"),
                 "num_experts_per_tok is 1, but this model was built for 2"));
}

TEST_CASE("mixtral: another architecture is refused by its first layer that differs") {
  mixtral_config const c = with("{}");
  PLAIT_REFUSED(require_same(c, configs::jamba_v0_1),
                "model_type is \"mixtral\", whose layers have rotary attention",
                "but this model was built with mamba in layer 0");
  auto plain = configs::mixtral_8x7b;
  plain.attention.positions = positions::none;
  PLAIT_REFUSED(require_same(c, plain), "was built with attention without positions in layer 0");
  auto as_they_are = configs::mixtral_8x7b;
  as_they_are.sparse.weights = router_weights::as_they_are;
  PLAIT_REFUSED(require_same(c, as_they_are), "whose layers have renormalised experts",
                "weights are not renormalised in layer 0");
  constexpr hybrid<attention, none, mlp, moe> every_second{
      .d_model = 4096,
      .vocab_size = 32000,
      .layers = {.layers_per_block = 32, .attend = 1, .moe_every = 2, .moe_offset = 0},
      .attention = configs::mixtral_8x7b.attention,
      .dense = {.d_ff = 14336},
      .sparse = configs::mixtral_8x7b.sparse};
  PLAIT_REFUSED(require_same(c, every_second), "was built with mlp in layer 1");
  // A slot that no layer uses is not compared.
  constexpr hybrid<attention, mamba, mlp, moe> unused{
      .d_model = 4096,
      .vocab_size = 32000,
      .layers = {.layers_per_block = 32, .attend = 1, .moe_every = 1},
      .attention = configs::mixtral_8x7b.attention,
      .sparse = configs::mixtral_8x7b.sparse,
      .norm_eps = 1e-5f,
      .rope_theta = 1e6f};
  CHECK_NOTHROW(require_same(c, unused));
}

TEST_CASE("mixtral: names of transformers 4 and 5, separate or fused experts, and no duplicates") {
  using bag = tensor_bag<small>;
  std::map<std::string, std::vector<std::int64_t>> const shared{
      {"model.embed_tokens.weight", {7, 12}},
      {"lm_head.weight", {7, 12}},
      {"model.norm.weight", {12}},
      {"input_layernorm.weight", {12}},
      {"post_attention_layernorm.weight", {12}},
      {"self_attn.q_proj.weight", {12, 12}},
      {"self_attn.k_proj.weight", {6, 12}},
      {"self_attn.v_proj.weight", {6, 12}},
      {"self_attn.o_proj.weight", {12, 12}}};
  using files = std::map<std::string, std::vector<std::int64_t>>;
  // Values depend on the position alone, so that all files with the same tensors load the
  // same.
  auto const checkpoint = [&](std::string const& router_stem, std::string const& expert_stem,
                              bool fused) {
    files out;
    for (auto const& [name, shape] : shared)
      if (name.starts_with("model.") || name.starts_with("lm_head")) out[name] = shape;
    for (int i = 0; i < 2; ++i) {
      std::string const at = "model.layers." + std::to_string(i) + ".";
      for (auto const& [name, shape] : shared)
        if (!name.starts_with("model.") && !name.starts_with("lm_head")) out[at + name] = shape;
      out[at + router_stem + ".gate.weight"] = {3, 12};
      if (fused) {
        out[at + expert_stem + ".experts.gate_up_proj"] = {3, 10, 12};
        out[at + expert_stem + ".experts.down_proj"] = {3, 12, 5};
      } else
        for (int e = 0; e < 3; ++e)
          for (auto const& [leaf, shape] : files{{"w1", {5, 12}}, {"w3", {5, 12}}, {"w2", {12, 5}}})
            out[at + expert_stem + ".experts." + std::to_string(e) + "." + leaf + ".weight"] =
                shape;
    }
    return out;
  };
  // One value per (matrix, expert), so that the fused tensor is the concatenation of the others.
  auto const value_at = [](std::string const& name, std::int64_t i) {
    auto const digit = [&](std::size_t after) { return double(name[after] - '0'); };
    double const layer = name.starts_with("model.layers.") ? digit(13) : 0;
    auto const of = [&](double which, double e) {
      return static_cast<float>(1000 * layer + 100 * which + 10 * e);
    };
    if (name.ends_with("gate_up_proj")) return of(i / 60 % 2 == 0 ? 1 : 3, double(i / 120));
    if (name.ends_with("experts.down_proj")) return of(2, double(i / 60));
    if (std::size_t const at = name.find("experts."); at != std::string::npos)
      return of(digit(name.find(".w") + 2), digit(at + 8));
    return static_cast<float>(name.find("gate.weight") != std::string::npos
                                  ? 5 + i
                                  : std::int64_t{name.back()} + std::int64_t(name.size()) + i);
  };
  temporary_directory const dir;
  dir.write("config.json", small_config);
  auto const write = [&](files const& all) {
    io::safetensors_writer out(dir / "model.safetensors");
    for (auto const& [name, shape] : all) out.declare(name, shape);
    for (auto const& [name, shape] : all) {
      std::int64_t n = 1;
      for (std::int64_t const s : shape) n *= s;
      std::vector<float> values;
      for (std::int64_t i = 0; i < n; ++i)
        values.push_back(
            value_at(name.find("self_attn") == std::string::npos ? name : name.substr(13), i));
      out.append(name, values);
    }
    out.commit();
  };
  std::string const old = "block_sparse_moe", fresh = "mlp";
  write(checkpoint(old, old, false));
  std::vector<float> const expected = io::load<bag>(dir.path())->values();
  CHECK(std::count(expected.begin(), expected.end(), 1120.0f) == 60);  // layer 1, gate of expert 2
  CHECK(std::count(expected.begin(), expected.end(), 310.0f) == 60);   // layer 0, up of expert 1
  for (auto const& router : {old, fresh})
    for (auto const& experts : {old, fresh})
      for (bool const fused : {false, true}) {
        write(checkpoint(router, experts, fused));
        CHECK(io::load<bag>(dir.path())->values() == expected);
      }

  files twice = checkpoint(fresh, fresh, true);
  twice["model.layers.1.block_sparse_moe.gate.weight"] = {3, 12};
  write(twice);
  PLAIT_REFUSED(io::load<bag>(dir.path()),
                "tensor \"model.layers.1.mlp.gate.weight\" is unexpected");
  files both = checkpoint(old, old, false);
  both.merge(checkpoint(fresh, fresh, true));
  write(both);
  PLAIT_REFUSED(io::load<bag>(dir.path()), "is unexpected: this model has no place for it");
  files missing = checkpoint(old, old, false);
  missing.erase("model.layers.1.block_sparse_moe.experts.2.w3.weight");
  write(missing);
  PLAIT_REFUSED(io::load<bag>(dir.path()),
                "has no tensor \"model.layers.1.block_sparse_moe.experts.2.w3.weight\"");
}
