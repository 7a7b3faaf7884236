// Mixtral's layers against golden/tiny-mixtral: rotary positions and renormalised weights have float64 results of their own. Without the
// loader: the file's names are spelt here.
#include <plait/io/safetensors.hpp>
#include <plait/plait.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace {

inline constexpr plait::hybrid<plait::attention, plait::none, plait::none, plait::moe> tiny{
    .d_model = 36,
    .vocab_size = 61,
    .layers = {.blocks = 3, .layers_per_block = 1, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 6, .num_kv_heads = 2, .positions = plait::positions::rotary},
    .sparse = {.d_ff = 27, .num_experts = 5, .top_k = 2, .weights = plait::gate_weights::renormalised},
    .norm_eps = 1e-5f,
    .rope_theta = 12345.0f};
constexpr std::int64_t vocab = 61, tokens = 70, heads = 2, dim = 6;

std::string const directory = std::string(PLAIT_GOLDEN_DIR) + "/tiny-mixtral";

/// Names as transformers wrote them.
std::string name_of(int layer, std::string const& part, std::string const& own, std::int64_t expert) {
  if (part == "embedding") return "model.embed_tokens.weight";
  if (part == "head") return "lm_head.weight";
  if (part == "final_norm") return "model.norm.weight";
  std::string const at = "model.layers." + std::to_string(layer) + ".";
  if (part == "mixer_norm") return at + "input_layernorm.weight";
  if (part == "ffn_norm") return at + "post_attention_layernorm.weight";
  if (part == "mixer") return at + "self_attn." + own + ".weight";
  if (own == "router") return at + "block_sparse_moe.gate.weight";
  char const* const leaf = own == "gate_proj" ? "w1" : own == "up_proj" ? "w3" : "w2";
  return at + "block_sparse_moe.experts." + std::to_string(expert) + "." + leaf + ".weight";
}

template <class Model>
Model loaded() {
  plait::io::safetensors const file(directory + "/model.safetensors");
  Model model;
  model.for_each_tensor([&](int layer, char const* part, plait::tensor const& t, auto& data) {
    for (std::int64_t e = 0; e < t.copies; ++e) {
      std::vector<float> const values = plait::io::read<float>(file.at(name_of(layer, part, t.name, e)));
      REQUIRE(static_cast<std::int64_t>(values.size()) == t.rows * t.cols);
      for (std::int64_t r = 0; r < t.rows; ++r) data.set_row(e, r, values.data() + r * t.cols);
    }
  });
  return model;
}

struct golden {
  plait::io::safetensors file{directory + "/golden.safetensors"};
  std::vector<std::int32_t> ids;
  std::vector<double> logits = plait::io::read<double>(file.at("logits_f64"));
  golden() {
    for (std::int64_t const id : plait::io::read<std::int64_t>(file.at("input_ids"))) ids.push_back(static_cast<std::int32_t>(id));
    REQUIRE(ids.size() == tokens);
    REQUIRE(logits.size() == tokens * vocab);
  }
};

template <class A, class B>
double difference(A const& actual, B const& expected) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0, most = 1e-300;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    worst = std::fmax(worst, std::fabs(double(actual[i]) - double(expected[i])));
    most = std::fmax(most, std::fabs(double(expected[i])));
  }
  return worst / most;
}

}  // namespace

// Two pages; in one call, and as 61 tokens, then one at a time. Limits as in io/golden_test.cpp.
TEST_CASE_TEMPLATE("golden: mixtral", Exec, plait::exec::cpu<>, plait::exec::reference) {
  using model = plait::model<tiny, Exec>;
  using T = typename Exec::value_type;
  constexpr bool exact = std::is_same_v<T, double>;
  golden const g;
  model const net = loaded<model>();
  for (std::size_t const prefix : {std::size_t{70}, std::size_t{61}}) {
    CAPTURE(prefix);
    Exec exec;
    net.reserve(exec, tokens);
    plait::cache_pool<model> pool;
    auto sequence = pool.make();
    sequence.reserve(tokens);
    std::vector<T> logits(tokens * vocab);
    for (std::size_t at = 0; at < g.ids.size(); at = at == 0 ? prefix : at + 1) {
      std::size_t const n = at == 0 ? prefix : 1;
      plait::batch<model> batch;
      batch.add(sequence, std::span<std::int32_t const>(g.ids).subspan(at, n), plait::rows::all);
      net.forward(exec, batch, {logits.data() + at * vocab, static_cast<std::int64_t>(n), vocab});
    }
    CHECK(difference(logits, g.logits) < (exact ? 1e-11 : 2e-5));

    // keys as they are cached: behind their rotation, which relative positions alone would not show in logits
    std::vector<T*> pages(2);
    sequence.page_table(tokens, pages.data());
    plait::page_layout const at{heads, dim};
    for (int i = 0; i < 3; ++i) {
      CAPTURE(i);
      std::vector<T> keys;
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t d = 0; d < dim; ++d)
            keys.push_back(pages[std::size_t(t / plait::page_tokens)]
                                [plait::plan<tiny>::places[std::size_t(i)].page_offset + at.key(h, d, t % plait::page_tokens)]);
      CHECK(difference(keys, plait::io::read<float>(g.file.at("cache." + std::to_string(i) + ".k"))) < 5e-5);
    }
  }
}

TEST_CASE("golden: mixtral, the model's oracle") {
  golden const g;
  auto oracle = loaded<plait::reference_model<tiny>>();
  CHECK(difference(oracle.forward(g.ids).values, g.logits) < 1e-11);
}
