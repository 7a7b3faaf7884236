// io/save.hpp: written files, preserved files and errors.
#include <support/files.hpp>
#include <support/tensor_bag.hpp>

#include <plait/io/load.hpp>
#include <plait/io/save.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace mine {

struct ring {
  int slots = 0;
  float decay = 0.5f;
  friend constexpr bool operator==(ring const&, ring const&) = default;
};
template <class Visit>
constexpr void describe(ring const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "in", .rows = p.slots, .cols = d_model});
  visit(plait::tensor{.name = "weight", .role = plait::role::vector, .rows = p.slots});
  visit(plait::tensor{.name = "A_log", .role = plait::role::state, .rows = 3, .cols = p.slots});
  visit(plait::tensor{
      .name = "part", .role = plait::role::expert, .rows = 2, .cols = d_model, .copies = 3});
}
constexpr char const* checkpoint_name(ring const&) { return "ring"; }
template <class Visit>
constexpr void hyperparameters(ring const& p, int, Visit&& visit) {
  visit("slots", p.slots);
  visit("decay", p.decay);
}
/// Its checkpoint name and its tensor's are those of a feed-forward.
struct clash {
  friend constexpr bool operator==(clash const&, clash const&) = default;
};
template <class Visit>
constexpr void describe(clash const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "up_proj", .rows = 4, .cols = d_model});
}
constexpr char const* checkpoint_name(clash const&) { return "feed_forward"; }

struct layer_norm {
  friend constexpr bool operator==(layer_norm const&, layer_norm const&) = default;
};
template <class Visit>
constexpr void describe(layer_norm const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "weight", .role = plait::role::vector, .rows = d_model});
  visit(plait::tensor{.name = "bias", .role = plait::role::vector, .rows = d_model});
}

}  // namespace mine

using namespace plait;
using namespace plait::test;
using io::load;
using io::save;
using json = nlohmann::json;

namespace {

constexpr hybrid<attention, mamba, mlp, moe> jamba{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 4, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {.d_state = 3, .proj_bias = true},
    .dense = {.d_ff = 4},
    .sparse = {.d_ff = 4, .num_experts = 3, .top_k = 2}};
constexpr auto tied = [] {
  auto c = jamba;
  c.tie_embeddings = true;
  return c;
}();
constexpr hybrid<attention, none, none, moe> mixtral{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 2, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 1, .positions = positions::rotary},
    .sparse = {.d_ff = 4, .num_experts = 3, .top_k = 2, .weights = router_weights::renormalised},
    .rope_theta = 1e4f};
constexpr hybrid<mine::ring, mamba, mlp, none, interleave, mine::layer_norm> own{
    .d_model = 8,
    .vocab_size = 5,
    .layers = {.layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.slots = 3, .decay = 0.1f},
    .dense = {.d_ff = 4}};
constexpr auto wordless = [] {
  auto c = own;
  c.vocab_size = -1;
  return c;
}();
constexpr hybrid<mine::clash, none, mlp, none> clash{.d_model = 8,
                                                     .vocab_size = 5,
                                                     .layers = {.layers_per_block = 1, .attend = 1},
                                                     .dense = {.d_ff = 4}};

template <auto C>
tensor_bag<C> bag(std::uint32_t seed = 1, bool coarse = false) {
  tensor_bag<C> b;
  b.fill(seed, coarse);
  return b;
}
json parsed(std::string const& path) { return json::parse(contents(path)); }
std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}
using names = std::vector<std::string>;

/// The same bits, in one file and in shards, saved repeatedly to one directory.
template <auto C>
void round_trips(char const* type) {
  CAPTURE(type);
  temporary_directory const dir;
  std::string const to = dir / "new";
  std::uint32_t seed = 0;
  for (std::int64_t const shard_bytes : {1'000'000, 300, 300, 1, 500, 1'000'000, 1'000'000}) {
    auto const b = bag<C>(++seed);
    save(b, to, {.shard_bytes = shard_bytes});
    CHECK(parsed(to + "/config.json").at("model_type") == type);
    CHECK(load<tensor_bag<C>>(to)->values() == b.values());
    CHECK(std::filesystem::exists(to + "/model.safetensors") == (shard_bytes == 1'000'000));
    CHECK(std::filesystem::exists(to + "/model.safetensors.index.json") ==
          (shard_bytes != 1'000'000));
    std::size_t files = 0;
    for ([[maybe_unused]] auto const& entry : std::filesystem::directory_iterator(to)) ++files;
    std::set<std::string> shards;
    if (shard_bytes != 1'000'000) {
      json const index = parsed(to + "/model.safetensors.index.json");
      for (auto const& [name, shard] : index.at("weight_map").items()) shards.insert(shard);
    }
    CHECK(files == (shards.empty() ? 2 : 2 + shards.size()));
  }
}

}  // namespace

TEST_CASE("save: every family, a user's policies, no vocabulary: the same bits are loaded") {
  round_trips<jamba>("jamba");
  round_trips<tied>("jamba");
  round_trips<mixtral>("mixtral");
  round_trips<own>("plait");
  round_trips<wordless>("plait");
}

TEST_CASE("save: one file, as transformers writes it") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  save(b, dir.path());
  CHECK(sorted(dir.list()) == names{"config.json", "model.safetensors"});
  io::safetensors const file(dir / "model.safetensors");
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(file.at("model.layers.1.feed_forward.experts.2.up_proj.weight").shape ==
        std::vector<std::int64_t>{4, 8});
  CHECK(file.at("model.layers.0.mamba.conv1d.weight").shape == std::vector<std::int64_t>{16, 1, 4});
  CHECK(file.at("model.layers.0.mamba.dt_proj.bias").shape == std::vector<std::int64_t>{16});
  CHECK(file.find("lm_head.weight") != nullptr);
  std::string const first = contents(dir / "model.safetensors"),
                    config = contents(dir / "config.json");
  save(b, dir.path());
  CHECK(contents(dir / "model.safetensors") == first);
  CHECK(contents(dir / "config.json") == config);
  CHECK(config.ends_with("}\n"));

  save(bag<tied>(), dir / "tied");
  CHECK(io::safetensors(dir / "tied/model.safetensors").find("lm_head.weight") == nullptr);
}

TEST_CASE("save: mixtral's names and both spellings of rope_theta") {
  temporary_directory const dir;
  save(bag<mixtral>(), dir.path());
  io::safetensors const file(dir / "model.safetensors");
  CHECK(file.at("model.layers.1.block_sparse_moe.experts.2.w2.weight").shape ==
        std::vector<std::int64_t>{8, 4});
  CHECK(file.find("model.layers.1.block_sparse_moe.gate.weight") != nullptr);
  CHECK(file.find("model.layers.0.post_attention_layernorm.weight") != nullptr);
  CHECK(file.find("model.norm.weight") != nullptr);
  json const c = parsed(dir / "config.json");
  CHECK(c.at("rope_theta") == 1e4);
  CHECK(c.at("rope_parameters") == json{{"rope_theta", 1e4}, {"rope_type", "default"}});
  CHECK(c.at("architectures") == json{"MixtralForCausalLM"});
}

TEST_CASE("save: shards and their index") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  save(b, dir.path(), {.shard_bytes = 1000});
  json const index = parsed(dir / "model.safetensors.index.json");
  std::map<std::string, std::int64_t> bytes;
  std::int64_t total = 0;
  for (auto const& [name, shard] : index.at("weight_map").items()) {
    io::safetensors const file(dir / shard.get<std::string>());
    CHECK(file.metadata().at("format") == "pt");
    bytes[shard] += file.at(name).bytes;
    total += file.at(name).bytes;
  }
  CHECK(index.at("metadata").at("total_size") == total);
  CHECK(total == count(jamba).total_parameters * 4);
  std::string const n = std::to_string(bytes.size());
  CHECK(bytes.begin()->first ==
        "model-00001-of-000" + std::string(n.size() < 2 ? "0" : "") + n + ".safetensors");
  for (auto const& [shard, size] : bytes)
    CHECK(size <= 1024);  // the largest tensor, in_proj, is alone in its shard
  CHECK(bytes.size() >= 8);
  CHECK_FALSE(std::filesystem::exists(dir / "model.safetensors"));

  save(b, dir.path(),
       {.shard_bytes =
            1000});  // the names are taken by the old ones until the new ones are in force
  CHECK(parsed(dir / "model.safetensors.index.json")
            .at("weight_map")
            .begin()
            .value()
            .get<std::string>()
            .starts_with("model.1-000"));
  save(b, dir.path(), {.shard_bytes = 1000});
  CHECK(parsed(dir / "model.safetensors.index.json") == index);
}

TEST_CASE("save: bf16 values are rounded, and config.json has the dtype") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  save(b, dir.path(), {.type = io::stored_type::bf16});
  CHECK(parsed(dir / "config.json").at("dtype") == "bfloat16");
  CHECK(io::safetensors(dir / "model.safetensors").at("lm_head.weight").type ==
        io::stored_type::bf16);
  std::vector<float> expected = b.values();
  for (float& v : expected) v = from_bf16(to_bf16(v));
  CHECK(load<tensor_bag<jamba>>(dir.path())->values() == expected);
  auto const coarse = bag<jamba>(3, true);  // what bf16 holds comes back as it was
  save(coarse, dir.path(), {.shard_bytes = 500, .type = io::stored_type::bf16});
  CHECK(load<tensor_bag<jamba>>(dir.path())->values() == coarse.values());
}

TEST_CASE("save: an existing config.json stays and decides the names") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  save(b, dir.path());
  json c = parsed(dir / "config.json");
  c["mine"] = {1, 2};
  c["eos_token_id"] = 7;
  c["mamba_dt_rank"] = "auto";
  std::string const mine = "  " + c.dump(7);
  dir.write("config.json", mine);
  save(bag<jamba>(2), dir.path());
  CHECK(contents(dir / "config.json") == mine);

  temporary_directory const other;
  json plain = io::plait_keys(jamba);  // the same architecture in plait's own words
  other.write("config.json", plain.dump());
  save(b, other.path());
  CHECK(parsed(other / "config.json").at("model_type") == "plait");
  CHECK(load<tensor_bag<jamba>>(other.path())->values() == b.values());
}

TEST_CASE("save: another model's directory is refused before anything is written") {
  temporary_directory const dir;
  save(bag<jamba>(), dir.path(), {.shard_bytes = 1000});
  std::map<std::string, std::string> before;
  for (auto const& name : dir.list()) before[name] = contents(dir / name);
  auto const untouched = [&] {
    std::map<std::string, std::string> after;
    for (auto const& name : dir.list()) after[name] = contents(dir / name);
    return after == before;
  };
  PLAIT_REFUSED(
      save(bag<tied>(), dir.path()),
      dir / "config.json: tie_word_embeddings is false, but this model was built for true");
  CHECK(untouched());
  PLAIT_REFUSED(
      save(bag<mixtral>(), dir.path()),
      dir / "config.json: describes a Jamba, but this model was built with rotary positions");
  CHECK(untouched());
  PLAIT_REFUSED(save(bag<own>(), dir.path()), dir / "config.json: ");
  CHECK(untouched());
  before["config.json"] = "{";
  dir.write("config.json", "{");
  PLAIT_REFUSED(save(bag<jamba>(), dir.path()), dir / "config.json: not valid JSON");
  CHECK(untouched());
  before.erase("config.json");
  std::filesystem::remove(dir / "config.json");
  PLAIT_REFUSED(save(bag<jamba>(), dir.path()), dir.path() + ": has weights but no config.json",
                "nothing was written");
  CHECK(untouched());
  std::filesystem::create_symlink("absent", dir / "config.json");
  PLAIT_REFUSED(save(bag<jamba>(), dir.path()), dir / "config.json: cannot be opened");
}

TEST_CASE("save: invalid options and targets") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  PLAIT_REFUSED(save(b, dir / "x", {.shard_bytes = 0}), "shard_bytes is 0; expected at least 1");
  PLAIT_REFUSED(save(b, dir / "x", {.type = io::stored_type::f16}), "F32 or BF16, not F16");
  PLAIT_REFUSED(save(b, dir / "x/y"), dir / "x/y: cannot be created: No such file");
  PLAIT_REFUSED(save(b, ""), "is not a directory that can be written");
  PLAIT_REFUSED(save(b, std::string("a\0b", 3)), "is not a directory that can be written");
  PLAIT_REFUSED(save(b, dir.write("file", "")), dir / "file: is not a directory");
  PLAIT_REFUSED(save(bag<clash>(), dir / "x"),
                "two tensors would have the name \"model.layers.0.feed_forward.up_proj.weight\"");
  CHECK(dir.list() == names{"file"});  // and no directory is left behind
}

TEST_CASE("save: the remains of an old checkpoint are removed, other files stay") {
  temporary_directory const dir;
  auto const b = bag<jamba>();
  save(b, dir.path(), {.shard_bytes = 1000});
  for (char const* name :
       {"model-00007-of-00009.safetensors", "model.3-00001-of-00002.safetensors",
        "model-123456-of-123456.safetensors", "part.safetensors", "model-1-of-2.safetensors",
        "adapter_model.safetensors", "notes.txt", "tokenizer.json"})
    dir.write(name, "x");
  json index =
      parsed(dir / "model.safetensors.index.json");  // an index with a shard of another name
  index["weight_map"]["other"] = "part.safetensors";
  index["weight_map"]["evil"] = "../config.json";
  index["weight_map"]["note"] = "notes.txt";
  dir.write("model.safetensors.index.json", index.dump());
  save(b, dir.path());
  CHECK(sorted(dir.list()) == names{"adapter_model.safetensors", "config.json",
                                    "model-1-of-2.safetensors", "model.safetensors", "notes.txt",
                                    "tokenizer.json"});
  dir.write("model.safetensors.index.json", "broken");  // in the shadow of the one file
  save(b, dir.path(), {.shard_bytes = 1000});
  CHECK(load<tensor_bag<jamba>>(dir.path())->values() == b.values());
  CHECK_FALSE(std::filesystem::exists(dir / "model.safetensors"));
}

TEST_CASE("save: the working directory, and names with a trailing slash") {
  temporary_directory const dir;
  auto const before = std::filesystem::current_path();
  std::filesystem::current_path(dir.path());
  save(bag<jamba>(), ".");
  save(bag<jamba>(), "sub/");
  std::filesystem::current_path(before);
  CHECK(load<tensor_bag<jamba>>(dir.path())->values() == bag<jamba>().values());
  CHECK(load<tensor_bag<jamba>>(dir / "sub")->values() == bag<jamba>().values());
}
