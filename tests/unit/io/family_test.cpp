// io/family.hpp, io/architecture/plait_config.hpp, io/architecture/plait_architecture.hpp and
// io/architecture/plait_source.hpp: the family of a config.json and of an architecture, and
// model type plait.
#include <support/files.hpp>
#include <support/tensor_bag.hpp>

#include <plait/io/family.hpp>
#include <plait/io/load.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace mine {

enum class kind : unsigned char { slow, fast };

/// A user's mixer with a checkpoint name and hyperparameters.
struct ring {
  int slots = 0;
  bool gated = false;
  float decay = 0.5f;
  mine::kind kind = mine::kind::slow;
  friend constexpr bool operator==(ring const&, ring const&) = default;
};
template <class Visit>
constexpr void describe(ring const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "in", .rows = p.slots, .cols = d_model});
  visit(plait::tensor{.name = "gain", .role = plait::role::vector, .rows = p.slots});
  visit(plait::tensor{.name = "in.bias", .role = plait::role::vector, .rows = p.slots});
}
constexpr char const* checkpoint_name(ring const&) { return "ring"; }
template <class Visit>
constexpr void hyperparameters(ring const& p, int, Visit&& visit) {
  visit("slots", p.slots);
  visit("gated", p.gated);
  visit("decay", p.decay);
  visit("kind", p.kind == kind::fast ? "fast" : "slow");
}

/// A user's feed-forward without optional declarations, and a norm with more than a weight.
struct plain {
  friend constexpr bool operator==(plain const&, plain const&) = default;
};
template <class Visit>
constexpr void describe(plain const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "w", .rows = d_model, .cols = d_model});
}
struct layer_norm {
  friend constexpr bool operator==(layer_norm const&, layer_norm const&) = default;
};
template <class Visit>
constexpr void describe(layer_norm const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "weight", .role = plait::role::vector, .rows = d_model});
  visit(plait::tensor{.name = "bias", .role = plait::role::vector, .rows = d_model});
}

/// Three mixers in a list.
struct listed {
  int d_model = 8, vocab_size = 5;
  plait::rms_norm norm{};
  float norm_eps = 1e-6f;
  bool tie_embeddings = true;
  constexpr auto mixers() const {
    return std::tuple{plait::attention{.num_heads = 2, .num_kv_heads = 1},
                      plait::mamba{.d_state = 3},
                      plait::attention{.num_heads = 4, .num_kv_heads = 4, .head_dim = 6}};
  }
  constexpr auto ffns() const { return std::tuple{plait::mlp{.d_ff = 4}, plait::none{}}; }
  constexpr int num_layers() const { return 5; }
  constexpr int mixer_at(int i) const { return i % 3; }
  constexpr int ffn_at(int i) const { return i > 2; }
};

}  // namespace mine

using namespace plait;
using namespace plait::test;
using io::architecture_source;
using io::config_file;
using io::config_of;
using io::require_same;
using json = nlohmann::json;

namespace {

template <class Architecture>
json config_json(Architecture const& a) {
  return config_of(a, "dir/config.json", "float32").root();
}
template <class Architecture>
std::string type_of(Architecture const& a) {
  return config_json(a).at("model_type");
}
template <class Architecture>
std::string refused(json const& config, Architecture const& a) {
  return refusal([&] { require_same(config_file(config.dump(), "dir/config.json"), a); });
}

constexpr hybrid<attention, mamba, mlp, moe> jamba{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 6, .attend = 1, .recur = 2, .moe_every = 2},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .dense = {.d_ff = 4},
    .sparse = {.d_ff = 4, .num_experts = 3, .top_k = 2}};
constexpr hybrid<attention, none, none, moe> mixtral{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 2, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 1, .positions = positions::rotary},
    .sparse = {.d_ff = 4, .num_experts = 3, .top_k = 2, .weights = router_weights::renormalised},
    .rope_theta = 1e4f};
constexpr hybrid<mine::ring, mamba, mine::plain, none, interleave, mine::layer_norm> own{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 3, .attend = 1, .recur = 2},
    .attention = {.slots = 3, .decay = 0.1f, .kind = mine::kind::fast}};

}  // namespace

TEST_CASE("an architecture takes the first family that can express it") {
  CHECK(type_of(jamba) == "jamba");
  CHECK(type_of(configs::jamba_v0_1) == "jamba");
  CHECK(type_of(configs::jamba_1_5_large) == "jamba");
  CHECK(type_of(configs::jamba_reasoning_3b) == "jamba");
  CHECK(type_of(mixtral) == "mixtral");
  CHECK(type_of(configs::mixtral_8x7b) == "mixtral");
  CHECK(type_of(own) == "plait");
  CHECK(type_of(mine::listed{}) == "plait");

  auto two = jamba;  // two attention layers side by side
  two.layers.attend = 2;
  two.layers.recur = 4;
  CHECK(type_of(two) == "plait");
  auto widths = jamba;
  widths.sparse.d_ff = 6;
  CHECK(type_of(widths) == "plait");
  auto rotary = jamba;
  rotary.attention.positions = positions::rotary;
  rotary.rope_theta = 1e4f;
  CHECK(type_of(rotary) == "plait");
  auto bare = jamba;
  bare.recurrent.inner_norms = false;
  CHECK(type_of(bare) == "plait");
  auto wordless = jamba;
  wordless.vocab_size = no_vocabulary;
  CHECK(type_of(wordless) == "plait");
  CHECK(config_json(wordless).at("vocab_size").is_null());
  auto odd = mixtral;
  odd.attention.head_dim = 3;
  CHECK(type_of(odd) == "plait");
  constexpr hybrid<none, mamba, none, none> no_ffn{
      .d_model = 8, .vocab_size = 5, .layers = {.layers_per_block = 2, .recur = 1}};
  CHECK(type_of(no_ffn) == "plait");
}

TEST_CASE("jamba: periods and offsets are recovered from the layers") {
  json const c = config_json(jamba);
  CHECK(c.at("attn_layer_period") == 3);
  CHECK(c.at("attn_layer_offset") == 1);
  CHECK(c.at("expert_layer_period") == 2);
  CHECK(c.at("expert_layer_offset") == 1);
  CHECK(c.at("rms_norm_eps") == 1e-6);  // the short number, not the float's digits
  CHECK(c.at("architectures") == json{"JambaForCausalLM"});
  CHECK(c.at("dtype") == "float32");
  CHECK(c.at("use_mamba_kernels") == false);
  CHECK_FALSE(c.contains("head_dim"));  // transformers takes a null there for a number

  auto once = jamba;
  once.layers.recur = 5;
  CHECK(config_json(once).at("attn_layer_period") == 6);
  CHECK(config_json(once).at("attn_layer_offset") == 3);
  auto never = jamba;
  never.layers.attend = 0;
  CHECK(type_of(never) == "jamba");
  CHECK(config_json(never).at("attn_layer_offset") == 6);
  auto empty = never;  // a slot that is not used, and was never filled in
  empty.attention = {};
  CHECK(type_of(empty) == "jamba");
  auto always = jamba;
  always.layers.recur = 0;
  CHECK(config_json(always).at("attn_layer_period") == 1);
  auto dense = jamba;
  dense.layers.moe_every = 0;
  CHECK(config_json(dense).at("num_experts") == 1);
  auto dim = jamba;
  dim.attention.head_dim = 6;
  CHECK(config_json(dim).at("head_dim") == 6);
}

TEST_CASE("a config.json of another family is refused by its first difference") {
  CHECK(refused(config_json(jamba), jamba) == "");
  CHECK(refused(config_json(mixtral), mixtral) == "");
  CHECK(refused(config_json(own), own) == "");
  CHECK(contains(
      refused(config_json(jamba), mixtral),
      "dir/config.json: describes a Jamba, but this model was built with rotary positions"));
  CHECK(contains(refused(config_json(mixtral), jamba),
                 "model_type is \"mixtral\", whose layers have rotary attention, but this model "
                 "was built with mamba in layer 0"));
  CHECK(contains(refused(config_json(own), jamba),
                 "num_hidden_layers is 3, but this model was built for 6"));
  CHECK(contains(refused(config_json(jamba), own),
                 "describes a Jamba, but this model was built with another norm than RMS norm"));
  CHECK(contains(
      refused(config_json(mixtral), own),
      "model_type is \"mixtral\", but this model was built with another norm than RMS norm"));
  json unknown = config_json(jamba);
  unknown["model_type"] = "llama";
  CHECK(contains(refused(unknown, jamba),
                 "model_type is \"llama\"; plait reads \"jamba\", \"mixtral\", \"plait\""));
  unknown.erase("model_type");
  CHECK(contains(refused(unknown, jamba),
                 "has no model_type; plait reads \"jamba\", \"mixtral\", \"plait\""));
}

TEST_CASE("plait: the keys of config.json") {
  json const c = config_json(own);
  CHECK(c.at("hidden_size") == 8);
  CHECK(c.at("norm") == json{{"name", "norm"}});
  CHECK(c.at("layers").size() == 3);
  CHECK(c.at("layers")[1] ==
        json{{"mixer",
              {{"name", "ring"}, {"slots", 3}, {"gated", false}, {"decay", 0.1}, {"kind", "fast"}}},
             {"ffn", {{"name", "ffn"}}}});
  CHECK(c.at("layers")[0].at("mixer") == json{{"name", "mamba"},
                                              {"d_state", 16},
                                              {"d_conv", 4},
                                              {"expand", 2},
                                              {"dt_rank", 1},
                                              {"conv_bias", true},
                                              {"proj_bias", false},
                                              {"inner_norms", true}});
  CHECK_FALSE(c.contains("rope_theta"));
  json const l = config_json(mine::listed{});
  CHECK(l.at("layers")[0] == json{{"mixer",
                                   {{"name", "self_attn"},
                                    {"num_heads", 2},
                                    {"num_kv_heads", 1},
                                    {"head_dim", 4},
                                    {"positions", "none"}}},
                                  {"ffn", {{"name", "feed_forward"}, {"d_ff", 4}}}});
  CHECK(l.at("layers")[3].at("ffn").is_null());
}

TEST_CASE("plait: each difference is refused with its key and both values") {
  json const c = config_json(own);
  auto const with = [&](char const* pointer, json const& value) {
    json changed = c;
    changed[json::json_pointer(pointer)] = value;
    return refused(changed, own);
  };
  CHECK(contains(with("/hidden_size", 16), "hidden_size is 16, but this model was built for 8"));
  CHECK(
      contains(with("/vocab_size", nullptr), "vocab_size is null, but this model was built for 5"));
  CHECK(contains(with("/norm/name", "rms_norm"),
                 "norm.name is \"rms_norm\", but this model was built with \"norm\" there"));
  CHECK(contains(with("/norm_eps", 1e-5), "norm_eps is 1e-05, but this model was built for 1e-06"));
  CHECK(contains(with("/rope_theta", 1e4),
                 "rope_theta is 1e+04, but this model was built for 0e+00"));
  CHECK(contains(with("/tie_word_embeddings", true),
                 "tie_word_embeddings is true, but this model was built for false"));
  CHECK(contains(with("/layers/1/mixer/slots", 4),
                 "layers[1].mixer.slots is 4, but this model was built for 3"));
  CHECK(contains(with("/layers/1/mixer/gated", true),
                 "layers[1].mixer.gated is true, but this model was built for false"));
  CHECK(contains(with("/layers/1/mixer/gated", 0),
                 "layers[1].mixer.gated is 0, but this model was built for false"));
  CHECK(contains(with("/layers/1/mixer/decay", 0.25),
                 "layers[1].mixer.decay is 0.25, but this model was built for 0.1"));
  CHECK(with("/layers/1/mixer/decay", 0.10000000149011612) == "");  // the same float
  CHECK(contains(with("/layers/1/mixer/kind", "slow"),
                 "layers[1].mixer.kind is \"slow\", but this model was built for \"fast\""));
  CHECK(contains(
      with("/layers/1/mixer/depth", 1),
      "layers[1].mixer.depth is 1, but \"ring\" of this model has no such hyperparameter"));
  CHECK(
      contains(with("/layers/1/mixer/name", "wheel"),
               "layers[1].mixer.name is \"wheel\", but this model was built with \"ring\" there"));
  CHECK(contains(with("/layers/1/mixer", nullptr),
                 "layers[1].mixer is null, but this model was built with \"ring\" there"));
  CHECK(contains(with("/layers/2/ffn", json{{"name", "feed_forward"}}),
                 "layers[2].ffn.name is \"feed_forward\""));
  CHECK(
      contains(with("/layers/1/mixer", json{{"name", "ring"}, {"decay", 0.1}, {"kind", "fast"}}),
               "layers[1].mixer.slots is missing, which means 0, but this model was built for 3"));
  CHECK(with("/layers/1/mixer",
             json{{"name", "ring"}, {"slots", 3}, {"decay", 0.1}, {"kind", "fast"}}) ==
        "");  // gated is the default

  json experts = config_json(mine::listed{});
  experts["layers"][0]["ffn"]["num_experts"] = 4;
  CHECK(contains(refused(experts, mine::listed{}),
                 "layers[0].ffn.num_experts is 4, but \"feed_forward\" of this model has no such "
                 "hyperparameter"));
  experts = config_json(mine::listed{});
  experts["layers"][3]["ffn"] = {{"name", "feed_forward"}, {"d_ff", 4}};
  CHECK(contains(
      refused(experts, mine::listed{}),
      "layers[3].ffn.name is \"feed_forward\", but this model was built with nothing there"));
}

TEST_CASE("plait: malformed config.json") {
  json const c = config_json(own);
  auto const with = [&](char const* pointer, json const& value) {
    json changed = c;
    changed[json::json_pointer(pointer)] = value;
    return refused(changed, own);
  };
  for (char const* const key :
       {"hidden_size", "vocab_size", "num_hidden_layers", "norm_eps", "norm", "layers"}) {
    json without = c;
    without.erase(key);
    CHECK(contains(refused(without, own), std::string("dir/config.json: has no ") + key));
  }
  CHECK(contains(with("/layers", 3), "layers is 3; expected an array"));
  CHECK(
      contains(with("/num_hidden_layers", 4), "layers has 3 entries, but num_hidden_layers is 4"));
  CHECK(
      contains(with("/num_hidden_layers", 2000000), "num_hidden_layers is 2000000; at most 10000"));
  CHECK(contains(with("/layers/1", nullptr),
                 "layers[1] is null; expected an object with mixer and ffn"));
  CHECK(contains(with("/layers/1", json{{"mixer", nullptr}}),
                 "layers[1] is an object; expected an object with mixer and ffn"));
  CHECK(contains(with("/layers/1/mixer", "ring"),
                 "layers[1].mixer is \"ring\"; expected an object with a name"));
  CHECK(contains(with("/layers/1/mixer/name", 3),
                 "layers[1].mixer is an object; expected an object with a name"));
  CHECK(contains(with("/layers/1/mixer/slots", json::array()),
                 "layers[1].mixer.slots is an array; expected a number"));
  CHECK(contains(with("/norm", nullptr), "norm is null; expected an object with a name"));
  CHECK(contains(with("/vocab_size", 0), "vocab_size is 0; expected an integer from 1"));
  auto not_a_number = own;
  not_a_number.attention.decay = std::numeric_limits<float>::quiet_NaN();
  PLAIT_REFUSED(config_of(not_a_number, "dir/config.json", "float32"),
                "layers[1].mixer.decay is null; expected a number");
}

TEST_CASE("plait: the header, a hybrid where the layers follow a pattern") {
  auto const body = [](json const& c) {
    std::string const text = architecture_source(config_file(c.dump(), "dir/config.json"));
    return text.substr(text.find("{\n\n") + 3,
                       text.find("template <class") - text.find("{\n\n") - 3);
  };
  auto two = jamba;
  two.layers.attend = 2;
  two.layers.recur = 4;
  CHECK(body(config_json(two)) ==
        R"(inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe>)"
        R"( config{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.blocks = 1, .layers_per_block = 6, .attend = 2, .recur = 4, .moe_every = 2},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {},
    .dense = {.d_ff = 4},
    .sparse = {.d_ff = 4, .num_experts = 3, .top_k = 2},
};

)");
  constexpr hybrid<none, mamba, none, none> recurrent{.d_model = 8,
                                                      .vocab_size = 5,
                                                      .layers = {.layers_per_block = 2, .recur = 1},
                                                      .recurrent = {.inner_norms = false}};
  CHECK(contains(body(config_json(recurrent)),
                 R"(plait::hybrid<plait::none, plait::mamba, plait::none, plait::none> config{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.blocks = 2, .layers_per_block = 1, .attend = 0, .recur = 1},
    .recurrent = {.inner_norms = false},
)"));
  constexpr hybrid<attention, none, mlp, none> sparse_mixers{
      .d_model = 8,
      .vocab_size = no_vocabulary,
      .layers = {.layers_per_block = 4, .attend = 1, .recur = 1},
      .attention = {.num_heads = 1,
                    .num_kv_heads = 1,
                    .head_dim = 2,
                    .positions = positions::rotary},
      .dense = {.d_ff = 3},
      .norm_eps = 1e-5f,
      .rope_theta = 5e5f};
  CHECK(body(config_json(sparse_mixers)) ==
        R"(inline constexpr plait::hybrid<plait::attention, plait::none, plait::mlp, plait::none>)"
        R"( config{
    .d_model = 8,
    .vocab_size = plait::no_vocabulary,
    .layers = {.blocks = 2, .layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.num_heads = 1, .num_kv_heads = 1, .head_dim = 2,)"
        R"( .positions = plait::positions::rotary},
    .dense = {.d_ff = 3},
    .norm_eps = 1e-05f,
    .rope_theta = 5e+05f,
};

)");
}

TEST_CASE("plait: the header, an architecture that lists its layers") {
  std::string const text =
      architecture_source(config_file(config_json(mine::listed{}).dump(), "dir/config.json"));
  CHECK(contains(text, R"(    return std::tuple{plait::attention{.num_heads = 2, .num_kv_heads = 1},
                      plait::mamba{.d_state = 3},
                      plait::attention{.num_heads = 4, .num_kv_heads = 4, .head_dim = 6}};
)"));
  CHECK(contains(
      text, "return std::tuple{plait::mlp{.d_ff = 4},\n                      plait::none{}};"));
  CHECK(contains(text, "constexpr int of_layer[] = {0, 1, 2, 0, 1};"));
  CHECK(contains(text, "constexpr int of_layer[] = {0, 0, 0, 1, 1};"));
}

TEST_CASE("plait: a user's components have no generated header") {
  PLAIT_REFUSED(architecture_source(config_file(config_json(own).dump(), "dir/config.json")),
                "dir/config.json: norm is \"norm\"", "your own code");
  json c = config_json(own);
  c["norm"] = {{"name", "rms_norm"}};
  PLAIT_REFUSED(architecture_source(config_file(c.dump(), "dir/config.json")),
                "layers[0].ffn is \"ffn\"", "your own code");
  json l = config_json(mine::listed{});
  for (json const& hyperparameter :
       {json(-1), json(1.5), json("one"), json(true), json(3000000000)}) {
    l["layers"][0]["mixer"]["num_heads"] = hyperparameter;
    PLAIT_REFUSED(architecture_source(config_file(l.dump(), "dir/config.json")),
                  "layers[0].mixer is \"self_attn\"", "your own code");
  }
  l["layers"][0]["mixer"]["num_heads"] = 2;
  l["layers"][0]["mixer"]["positions"] = "learned";
  PLAIT_REFUSED(architecture_source(config_file(l.dump(), "dir/config.json")),
                "layers[0].mixer is \"self_attn\"");
}

TEST_CASE("tensor names: components under their checkpoint names, norms with all their tensors") {
  io::tensor_names const names(own, require_same(config_of(own, "f", "float32"), own));
  std::vector<std::string> all;
  tensor_bag<own>::describe_tensors([&](int layer, std::string_view part, tensor const& t) {
    if (layer < 0 || layer == 1) all.push_back(names.written(layer, part, t, 0));
  });
  CHECK(all == std::vector<std::string>{
                   "model.embed_tokens.weight", "lm_head.weight", "model.final_layernorm.weight",
                   "model.final_layernorm.bias", "model.layers.1.input_layernorm.weight",
                   "model.layers.1.input_layernorm.bias", "model.layers.1.ring.in.weight",
                   "model.layers.1.ring.gain.weight", "model.layers.1.ring.in.bias",
                   "model.layers.1.pre_ff_layernorm.weight", "model.layers.1.pre_ff_layernorm.bias",
                   "model.layers.1.ffn.w.weight"});
}

TEST_CASE("find_run: periodic patterns") {
  auto const run = [](std::string_view marks) {
    std::vector<bool> v;
    for (char const c : marks) v.push_back(c == 'x');
    auto const r = io::find_run(v);
    return r ? std::to_string(r->period) + "/" + std::to_string(r->first) + "/" +
                   std::to_string(r->count)
             : std::string("none");
  };
  CHECK(run(".x..x..x") == "3/1/1");
  CHECK(run("x.x.x") == "2/0/1");
  CHECK(run("xxxx") == "1/0/1");
  CHECK(run("....") == "5/4/0");
  CHECK(run("...x....") == "8/3/1");
  CHECK(run(".xx...xx.") == "5/1/2");
  CHECK(run("xx.xx.x") == "3/0/2");
  CHECK(run("x..xx..x") == "none");  // a run across the end of a period
  CHECK(run("x.xx") == "none");
  CHECK(run("..x.xx") == "none");
  CHECK(run("x") == "1/0/1");
  CHECK(run(".") == "2/1/0");
}
