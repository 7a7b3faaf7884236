// What load accepts and refuses: a golden checkpoint, rewritten with one change. Built
// for tiny-headdim (fused experts, untied) and tiny-bias (one tensor per expert, tied, in shards),
// whose types come from their config.json.
#include <support/files.hpp>

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using plait::test::contains;
using plait::test::contents;

using model = checkpoint_architecture::model<>;
constexpr auto const& config = model::config;
constexpr bool tied = model::tied;
constexpr std::int64_t num_experts = config.sparse.num_experts;

std::string const directory = PLAIT_GOLDEN_CHECKPOINT;

struct values {
  std::vector<std::int64_t> shape;
  std::vector<float> data;
  friend bool operator==(values const&, values const&) = default;
};
using tensors = std::map<std::string, values>;

tensors const& original() {
  static tensors const all = [] {
    plait::io::checkpoint const file(directory);
    tensors out;
    for (std::string_view const name : file.names())
      out[std::string(name)] = {file.at(name).shape, plait::io::read<float>(file.at(name))};
    return out;
  }();
  return all;
}
nlohmann::json original_config() {
  return nlohmann::json::parse(contents(directory + "/config.json"));
}

std::string layer_name(int layer, std::string_view rest) {
  return "model.layers." + std::to_string(layer) + "." + std::string(rest);
}
std::string experts_name(int layer, std::string_view rest) {
  return layer_name(layer, "feed_forward.experts." + std::string(rest));
}
std::string expert_name(int layer, std::int64_t e, std::string_view leaf) {
  return experts_name(layer, std::to_string(e) + "." + std::string(leaf) + ".weight");
}
std::string quoted(std::string const& name) { return '"' + name + '"'; }

/// The layers with experts.
std::vector<int> routed() {
  std::vector<int> out;
  for (int i = 0; i < config.num_layers(); ++i)
    if (original().contains(layer_name(i, "feed_forward.router.weight"))) out.push_back(i);
  return out;
}

values part_of(values const& t, std::int64_t first_row, std::int64_t rows) {
  std::int64_t const cols = t.shape.back();
  return {{rows, cols},
          {t.data.begin() + first_row * cols, t.data.begin() + (first_row + rows) * cols}};
}

/// A layer's fused experts as separate tensors: gate rows come first, then up.
tensors taken_apart(tensors const& t, int layer) {
  values const &gate_up = t.at(experts_name(layer, "gate_up_proj")),
               &down = t.at(experts_name(layer, "down_proj"));
  std::int64_t const hidden = gate_up.shape[1] / 2, d = down.shape[1];
  tensors out;
  for (std::int64_t e = 0; e < num_experts; ++e) {
    out[expert_name(layer, e, "gate_proj")] = part_of(gate_up, e * 2 * hidden, hidden);
    out[expert_name(layer, e, "up_proj")] = part_of(gate_up, e * 2 * hidden + hidden, hidden);
    out[expert_name(layer, e, "down_proj")] = part_of(down, e * d, d);
  }
  return out;
}
tensors put_together(tensors const& t, int layer) {
  values gate_up, down;
  auto const add = [](values& to, values const& from) {
    to.data.insert(to.data.end(), from.data.begin(), from.data.end());
  };
  for (std::int64_t e = 0; e < num_experts; ++e) {
    add(gate_up, t.at(expert_name(layer, e, "gate_proj")));
    add(gate_up, t.at(expert_name(layer, e, "up_proj")));
    add(down, t.at(expert_name(layer, e, "down_proj")));
  }
  std::vector<std::int64_t> const one = t.at(expert_name(layer, 0, "gate_proj")).shape;
  gate_up.shape = {num_experts, 2 * one[0], one[1]};
  down.shape = {num_experts, one[1], one[0]};
  return {{experts_name(layer, "gate_up_proj"), gate_up}, {experts_name(layer, "down_proj"), down}};
}

bool is_fused(tensors const& t, int layer) {
  return t.contains(experts_name(layer, "gate_up_proj"));
}
void replace_experts(tensors& t, int layer, tensors const& by) {
  std::string const prefix = experts_name(layer, "");
  std::erase_if(t, [&](auto const& entry) { return entry.first.starts_with(prefix); });
  t.insert(by.begin(), by.end());
}
tensors per_expert(tensors t) {
  for (int const i : routed())
    if (is_fused(t, i)) replace_experts(t, i, taken_apart(t, i));
  return t;
}
tensors fused(tensors t) {
  for (int const i : routed())
    if (!is_fused(t, i)) replace_experts(t, i, put_together(t, i));
  return t;
}

/// A directory with these tensors and this config.json; `hastily` does not wait for the disk, which
/// suffices for most checkpoints that are refused.
struct rewritten {
  plait::test::temporary_directory where;

  explicit rewritten(tensors const& all, nlohmann::json const& about = original_config(),
                     bool hastily = false) {
    where.write("config.json", about.dump(2));
    if (hastily) {
      nlohmann::json header;
      std::string data;
      for (auto const& [name, t] : all) {
        std::size_t const begin = data.size(), bytes = t.data.size() * sizeof(float);
        data.append(reinterpret_cast<char const*>(t.data.data()), bytes);
        header[name] = {
            {"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {begin, begin + bytes}}};
      }
      where.write("model.safetensors", plait::test::safetensors_bytes(header.dump(), data));
      return;
    }
    plait::io::safetensors_writer out(weights(), {{"format", "pt"}});
    for (auto const& [name, t] : all) out.declare(name, t.shape);
    for (auto const& [name, t] : all) out.append(name, t.data);
    out.commit();
  }
  std::string const& path() const { return where.path(); }
  std::string weights() const { return where / "model.safetensors"; }
  std::string config_file() const { return where / "config.json"; }
  std::unique_ptr<model> load() const { return plait::io::load<model>(path()); }
};

/// The logits at all positions of a text that reaches every expert.
std::vector<float> logits_of(model const& net) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 48; ++i)
    ids.push_back(static_cast<std::int32_t>((i * 37 + i * i * 11 + 5) % model::vocab_size));
  plait::exec::cpu<> exec;
  plait::cache_pool<model> pool;
  auto cache = pool.make();
  auto const n = static_cast<std::int64_t>(ids.size());
  net.reserve(exec, n);
  cache.reserve(n);
  plait::batch<model> batch;
  batch.add(cache, ids, plait::rows::all);
  std::vector<float> logits(ids.size() * static_cast<std::size_t>(model::vocab_size));
  net.forward(exec, batch, {logits.data(), n, model::vocab_size});
  return logits;
}
std::vector<float> const& original_logits() {
  static std::vector<float> const logits = logits_of(*plait::io::load<model>(directory));
  return logits;
}
bool same_bits(std::vector<float> const& a, std::vector<float> const& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_equal(tensors const& all, nlohmann::json const& about = original_config()) {
  rewritten const r(all, about);
  CHECK(same_bits(logits_of(*r.load()), original_logits()));
}
/// Loading is refused with an error that begins with the file of the weights and contains the
/// parts.
void check_refused(tensors const& all, std::vector<std::string> const& parts) {
  rewritten const r(all, original_config(), true);
  std::string const message = plait::test::refusal([&] { (void)r.load(); });
  INFO("message: ", message);
  CHECK(message.starts_with(r.weights() + ": "));
  for (std::string const& part : parts) {
    INFO("expected: ", part);
    CHECK(contains(message, part));
  }
}
void check_missing(tensors const& all, std::string const& name) {
  check_refused(all, {"has no tensor " + quoted(name)});
}
void check_unexpected(tensors const& all, std::string const& name) {
  check_refused(all, {"tensor " + quoted(name) + " is unexpected: this model has no place for it"});
}

values filled(std::vector<std::int64_t> shape) {
  std::int64_t n = 1;
  for (std::int64_t const s : shape) n *= s;
  return {std::move(shape), std::vector<float>(static_cast<std::size_t>(n), 0.5f)};
}

tensors with(tensors t, std::string const& name, values const& v) {
  t[name] = v;
  return t;
}
tensors without(tensors t, std::string const& name) {
  REQUIRE(t.erase(name) == 1);
  return t;
}

}  // namespace

TEST_CASE("a rewrite in one file gives the same bits") {
  REQUIRE(original_logits().size() > 0);
  check_equal(original());
}

TEST_CASE("fused and separate experts, in all layers or in some, give the same bits") {
  REQUIRE(routed().size() >= 2);
  CHECK(fused(per_expert(original())) == fused(original()));
  CHECK(per_expert(fused(original())) == per_expert(original()));
  CHECK((fused(original()) == original()) != (per_expert(original()) == original()));
  check_equal(per_expert(original()));
  check_equal(fused(original()));
  tensors some = fused(original());
  int const last = routed().back();
  replace_experts(some, last, taken_apart(some, last));
  check_equal(some);
}

TEST_CASE("the logits depend on the order of fused rows") {
  tensors t = fused(original());
  int const layer = routed().front();
  values& gate_up = t.at(experts_name(layer, "gate_up_proj"));
  auto const half = static_cast<std::ptrdiff_t>(gate_up.shape[1] / 2 * gate_up.shape[2]);
  for (auto at = gate_up.data.begin(); at != gate_up.data.end(); at += 2 * half)
    std::swap_ranges(at, at + half, at + half);
  rewritten const r(t);
  CHECK_FALSE(same_bits(logits_of(*r.load()), original_logits()));
}

TEST_CASE("fused and separate experts in one layer: the separate ones are unexpected") {
  for (int const layer : routed()) {
    CAPTURE(layer);
    tensors const whole = fused(original()), apart = taken_apart(whole, layer);
    tensors both = whole;
    both.insert(apart.begin(), apart.end());
    check_unexpected(both, expert_name(layer, 0, "down_proj"));

    tensors one_expert_less = both;
    for (char const* leaf : {"gate_proj", "up_proj", "down_proj"})
      one_expert_less = without(one_expert_less, expert_name(layer, 1, leaf));
    check_unexpected(one_expert_less, expert_name(layer, 0, "down_proj"));
    check_unexpected(without(both, expert_name(layer, 0, "down_proj")),
                     expert_name(layer, 0, "gate_proj"));

    // A separate tensor beside the fused ones.
    for (auto const& t : apart) check_unexpected(with(whole, t.first, t.second), t.first);

    // Half of the fused tensors, with and without the separate ones: the other half is missing.
    tensors const single = per_expert(original());
    for (std::string const here : {"gate_up_proj", "down_proj"}) {
      std::string const missing = here == "down_proj" ? "gate_up_proj" : "down_proj";
      CAPTURE(here);
      check_missing(with(single, experts_name(layer, here), whole.at(experts_name(layer, here))),
                    experts_name(layer, missing));
      check_missing(without(whole, experts_name(layer, missing)), experts_name(layer, missing));
    }
    tensors none = single;
    replace_experts(none, layer, {});
    check_refused(none, {"has no tensor ", experts_name(layer, "")});
  }
}

TEST_CASE("more or fewer experts than the model has") {
  int const layer = routed().front();
  tensors const single = per_expert(original()), whole = fused(original());
  for (char const* leaf : {"gate_proj", "up_proj", "down_proj"}) {
    check_missing(without(single, expert_name(layer, num_experts - 1, leaf)),
                  expert_name(layer, num_experts - 1, leaf));
    check_unexpected(
        with(single, expert_name(layer, num_experts, leaf), single.at(expert_name(layer, 0, leaf))),
        expert_name(layer, num_experts, leaf));
  }
  for (char const* leaf : {"gate_up_proj", "down_proj"})
    for (std::int64_t const experts : {num_experts - 1, num_experts + 1}) {
      values const& t = whole.at(experts_name(layer, leaf));
      std::vector<std::int64_t> const shape{experts, t.shape[1], t.shape[2]};
      check_refused(
          with(whole, experts_name(layer, leaf), filled(shape)),
          {"tensor " + quoted(experts_name(layer, leaf)) + " has shape " +
           plait::io::shape_text(shape) + ", expected " + plait::io::shape_text(t.shape)});
    }
}

TEST_CASE("the head: a tensor of its own, or the embedding's") {
  if (tied) {
    CHECK_FALSE(original().contains("lm_head.weight"));
    check_equal(with(original(), "lm_head.weight", original().at("model.embed_tokens.weight")));
  } else {
    check_missing(without(original(), "lm_head.weight"), "lm_head.weight");
  }
}

TEST_CASE(
    "each tensor in turn: missing, with an extra row, transposed, with an extra dimension, flat") {
  for (tensors const& all : {fused(original()), per_expert(original())})
    for (auto const& entry : all) {
      std::string const& name = entry.first;
      std::vector<std::int64_t> const& shape = entry.second.shape;
      if (all != original() && original().contains(name)) continue;  // not twice
      CAPTURE(name);
      check_missing(without(all, name), name);
      auto const refused_as = [&](std::vector<std::int64_t> const& other) {
        check_refused(with(all, name, filled(other)),
                      {"tensor " + quoted(name) + " has shape " + plait::io::shape_text(other) +
                       ", expected " + plait::io::shape_text(shape)});
      };
      std::vector<std::int64_t> longer = shape, deeper = shape, transposed = shape;
      ++longer[shape.size() == 3 && shape[1] != 1 ? 1 : 0];
      refused_as(longer);
      deeper.push_back(1);
      refused_as(deeper);
      if (shape.size() < 2) continue;
      std::swap(transposed.back(), transposed[shape.size() - 2]);
      if (transposed != shape) refused_as(transposed);
      refused_as({static_cast<std::int64_t>(entry.second.data.size())});
    }
}

TEST_CASE("a convolution without its channel dimension") {
  std::string const name = layer_name(0, "mamba.conv1d.weight");
  values const& t = original().at(name);
  REQUIRE(t.shape.size() == 3);
  REQUIRE(t.shape[1] == 1);
  check_refused(with(original(), name, {{t.shape[0], t.shape[2]}, t.data}),
                {"tensor " + quoted(name) + " has shape " +
                 plait::io::shape_text(std::vector{t.shape[0], t.shape[2]}) + ", expected " +
                 plait::io::shape_text(t.shape)});
}

TEST_CASE("unexpected tensors") {
  std::vector<std::string> names = {"model.layers.0.extra",
                                    "extra",
                                    "__extra__",
                                    layer_name(config.num_layers(), "input_layernorm.weight"),
                                    layer_name(0, "input_layernorm.bias"),
                                    layer_name(0, "self_attn.q_proj.weight"),
                                    "transformer." + original().begin()->first};
  for (char const* bias : {"mamba.conv1d.bias", "mamba.in_proj.bias", "mamba.out_proj.bias"})
    if (!original().contains(layer_name(0, bias))) names.push_back(layer_name(0, bias));
  CHECK(names.size() >= 8);
  for (std::string const& name : names) {
    CAPTURE(name);
    check_unexpected(with(original(), name, filled({3})), name);
    check_unexpected(with(original(), name, filled({0})), name);
  }
}

TEST_CASE("integers are not weights") {
  int const layer = routed().front();
  std::vector<std::string> names = {
      "model.embed_tokens.weight",         "model.final_layernorm.weight",
      layer_name(0, "mamba.A_log"),        layer_name(0, "mamba.D"),
      layer_name(0, "mamba.dt_proj.bias"), layer_name(0, "mamba.conv1d.weight"),
      experts_name(layer, "gate_up_proj"), experts_name(layer, "down_proj"),
      expert_name(layer, 1, "up_proj"),    expert_name(layer, num_experts - 1, "down_proj")};
  for (std::string const& name : names) {
    CAPTURE(name);
    rewritten const r(fused(original()).contains(name) ? fused(original())
                                                       : per_expert(original()));
    std::string bytes = contents(r.weights());
    std::string const entry = quoted(name) + ":{\"dtype\":\"";
    std::size_t const at = bytes.find(entry + "F32\"");
    REQUIRE(at != std::string::npos);
    bytes[at + entry.size()] = 'I';
    r.where.write("model.safetensors", bytes);
    PLAIT_REFUSED(r.load(), r.weights() + ": tensor " + quoted(name) + " is of type I32",
                  "F32, F16 or BF16");
  }
}

TEST_CASE("a config.json that differs in one key") {
  nlohmann::json const about = original_config();
  struct change {
    std::string key;
    nlohmann::json value;
    std::vector<std::string> parts;  // empty: "KEY is VALUE, but this model was built for WAS"
  };
  auto const is = [](std::string const& key, std::string const& value, std::string const& was) {
    return std::vector<std::string>{key + " is " + value + ", but this model was built for " + was};
  };
  std::vector<change> changes;
  for (char const* key : {"hidden_size", "vocab_size", "num_hidden_layers", "mamba_d_state",
                          "mamba_d_conv", "mamba_expand", "num_experts", "intermediate_size"})
    for (int const step : {1, -1})
      if (int const was = about.at(key), value = was + step; value > 0)
        changes.push_back({key, value, is(key, std::to_string(value), std::to_string(was))});
  int const top_k = about.at("num_experts_per_tok"), heads = about.at("num_attention_heads"),
            shared = about.at("num_key_value_heads");
  int const dim = config.attention.dim(config.d_model),
            rank = config.recurrent.rank(config.d_model);
  changes.push_back({"num_experts_per_tok", top_k + 1,
                     is("num_experts_per_tok", std::to_string(top_k + 1), std::to_string(top_k))});
  changes.push_back({"num_experts_per_tok", top_k - 1,
                     is("num_experts_per_tok", std::to_string(top_k - 1), std::to_string(top_k))});
  changes.push_back({"num_attention_heads", 2 * heads,
                     is("num_attention_heads", std::to_string(2 * heads), std::to_string(heads))});
  changes.push_back({"num_key_value_heads", heads,
                     is("num_key_value_heads", std::to_string(heads), std::to_string(shared))});
  changes.push_back({"num_key_value_heads", nullptr,
                     is("num_key_value_heads", std::to_string(heads), std::to_string(shared))});
  changes.push_back(
      {"head_dim", dim + 1, is("head_dim", std::to_string(dim + 1), std::to_string(dim))});
  changes.push_back({"mamba_dt_rank", rank + 1,
                     is("mamba_dt_rank", std::to_string(rank + 1), std::to_string(rank))});
  changes.push_back({"rms_norm_eps", 1e-5, is("rms_norm_eps", "1e-05", "1e-06")});
  changes.push_back({"rms_norm_eps",
                     1.000001e-6,
                     {"rms_norm_eps is 1.000001e-06, but this model was built for 1e-06"}});
  for (char const* key : {"mamba_conv_bias", "mamba_proj_bias", "tie_word_embeddings"}) {
    bool const was = about.at(key);
    changes.push_back({key, !was, is(key, was ? "false" : "true", was ? "true" : "false")});
  }
  // Placement: the keys, and the first layer that differs.
  std::string const period = std::to_string(int{about.at("attn_layer_period")}),
                    every = std::to_string(int{about.at("expert_layer_period")}),
                    experts = std::to_string(num_experts);
  changes.push_back({"attn_layer_offset",
                     0,
                     {"attn_layer_period is " + period +
                          " and attn_layer_offset 0, which puts attention in layer 0, ",
                      "but this model was built with mamba there"}});
  int const other = 1 - int{about.at("expert_layer_offset")};
  changes.push_back(
      {"expert_layer_offset",
       other,
       {"num_experts is " + experts + ", expert_layer_period " + every +
            " and expert_layer_offset " + std::to_string(other),
        other == 0 ? "which puts moe in layer 0, but this model was built with mlp there"
                   : "which puts mlp in layer 0, but this model was built with moe there"}});
  changes.push_back(
      {"expert_layer_period",
       5,
       {"num_experts is " + experts + ", expert_layer_period 5 and expert_layer_offset ",
        "which puts mlp in layer ", "but this model was built with moe there"}});
  changes.push_back({"num_experts",
                     0,
                     {"num_experts is 0, which puts mlp in layer ",
                      std::to_string(routed().front()), "built with moe there"}});
  changes.push_back({"attn_layer_period",
                     int{about.at("attn_layer_offset")} + 1,
                     {"attn_layer_period is ", "but this model was built with "}});

  for (change const& c : changes) {
    CAPTURE(c.key);
    nlohmann::json changed = about;
    changed[c.key] = c.value;
    rewritten const r(original(), changed, true);
    std::string const message = plait::test::refusal([&] { (void)r.load(); });
    if (tied && c.key == "attn_layer_period") {
      CHECK(message.empty());  // six layers with attention in the fourth, however that is spelt
      continue;
    }
    INFO("message: ", message);
    CHECK(message.starts_with(r.config_file() + ": "));
    for (std::string const& part : c.parts) {
      INFO("expected: ", part);
      CHECK(contains(message, part));
    }
  }
}

TEST_CASE("equivalent spellings of a config.json") {
  nlohmann::json about = original_config();
  about["head_dim"] = config.attention.dim(config.d_model);
  about["mamba_dt_rank"] = config.recurrent.rank(config.d_model);
  about["max_position_embeddings"] = 7;
  about["an_unknown_key"] = {1, 2};
  check_equal(original(), about);
  if (tied) {
    about["attn_layer_period"] = 4;  // of six layers the fourth attends, as before
    check_equal(original(), about);
  }
}

TEST_CASE("missing files") {
  rewritten const r(original());
  std::filesystem::remove(r.weights());
  PLAIT_REFUSED(r.load(),
                r.path() + ": has neither model.safetensors nor model.safetensors.index.json");
  std::filesystem::remove(r.config_file());
  PLAIT_REFUSED(r.load(), r.config_file());
  PLAIT_REFUSED(plait::io::load<model>(r.path() + "/nowhere"), r.path() + "/nowhere");
}
