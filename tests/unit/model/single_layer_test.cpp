#include <plait/model/single_layer.hpp>

#include <plait/plait.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

constexpr int width = 40;
constexpr plait::attention attention{.num_heads = 4, .num_kv_heads = 2};
constexpr plait::mamba mamba{.d_state = 5, .d_conv = 3, .expand = 2};
constexpr plait::mlp mlp{.d_ff = 70};
constexpr plait::moe moe{.d_ff = 50, .num_experts = 5, .top_k = 2};

template <auto Policy, class Exec = plait::exec::cpu<>>
using alone = plait::single_layer<width, Policy, Exec>;

static_assert(alone<attention>::is_mixer && alone<mamba>::is_mixer && !alone<mlp>::is_mixer &&
              !alone<moe>::is_mixer);
static_assert(alone<attention>::layout.state_values == 0 &&
              alone<attention>::layout.page_bytes == 4 * 2 * 2 * 10 * plait::page_tokens);
static_assert(alone<mamba>::layout.state_values == 80 * (2 + 5) &&
              alone<mamba>::layout.page_bytes == 0);

template <class T>
struct matrix {
  std::int64_t rows;
  std::vector<T> values;
  explicit matrix(std::int64_t n) : rows(n), values(static_cast<std::size_t>(n * width), T(-7)) {}
  plait::matrix_view<T> view() { return {values.data(), rows, width}; }
};

template <class T>
matrix<T> input(std::int64_t tokens) {
  matrix<T> m(tokens);
  for (std::size_t i = 0; i < m.values.size(); ++i)
    m.values[i] = static_cast<T>(std::sin(static_cast<float>(i) * 0.7f) * 1.5f);
  return m;
}

/// Runs `tokens` tokens in calls of `chunk`.
template <auto Policy, class Exec>
std::vector<typename Exec::value_type> run(Exec& exec, std::int64_t tokens, std::int64_t chunk) {
  alone<Policy, Exec> layer(3);
  layer.reserve(exec, chunk, tokens);
  auto x = input<typename Exec::value_type>(tokens);
  matrix<typename Exec::value_type> y(tokens);
  auto const calls = [&](auto const& call) {
    for (std::int64_t t = 0; t < tokens; t += chunk) {
      std::int64_t const n = std::min(chunk, tokens - t);
      call(x.view().middle_rows(t, n), y.view().middle_rows(t, n));
    }
  };
  if constexpr (alone<Policy, Exec>::is_mixer) {
    auto sequence = layer.make();
    sequence.reserve(tokens);
    calls([&](auto from, auto to) { layer.forward(exec, sequence, from, to); });
    CHECK(sequence.length() == tokens);
  } else {
    calls([&](auto from, auto to) { layer.forward(exec, from, to); });
  }
  return y.values;
}

template <auto Policy>
void check_layer() {
  constexpr std::int64_t tokens = 131;
  plait::exec::cpu<> cpu(2);
  plait::exec::reference reference;
  auto const y = run<Policy>(cpu, tokens, tokens);
  auto const expected = run<Policy>(reference, tokens, tokens);
  double max_expected = 0, max_difference = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    max_expected = std::max(max_expected, std::abs(expected[i]));
    max_difference = std::max(max_difference, std::abs(expected[i] - double{y[i]}));
  }
  CHECK(max_expected > 0);
  CHECK(max_difference <= 2e-6 * max_expected);  // three f32 chains of up to 80 terms in a row
  for (std::int64_t chunk : {1, 7, 64, 65}) {
    CAPTURE(chunk);
    plait::exec::cpu<> one(1);
    CHECK(run<Policy>(one, tokens, chunk) == y);
  }
}

}  // namespace

TEST_CASE("single_layer: equals the reference to rounding, and itself in chunks to the last bit") {
  SUBCASE("attention") { check_layer<attention>(); }
  SUBCASE("mamba") { check_layer<mamba>(); }
  SUBCASE("mlp") { check_layer<mlp>(); }
  SUBCASE("moe") { check_layer<moe>(); }
}

TEST_CASE("single_layer: weights from a seed are those of a model's layer 0") {
  static constexpr plait::hybrid<plait::none, plait::mamba, plait::mlp, plait::none> config{
      .d_model = width,
      .vocab_size = 8,
      .layers = {.blocks = 1, .layers_per_block = 2, .recur = 1},
      .recurrent = mamba,
      .dense = mlp};
  plait::model<config> model;
  plait::initialize(model, 11);
  auto const same = [&](auto& layer) {
    int compared = 0;
    layer.for_each_tensor([&](int index, std::string_view part, plait::tensor const& t, auto& own) {
      CHECK(index == 0);
      model.for_each_tensor(
          [&](int i, std::string_view p, plait::tensor const& other, auto& theirs) {
            if (i != 0 || p != part || std::string_view(other.name) != t.name) return;
            std::vector<float> a(static_cast<std::size_t>(t.cols)), b(a.size());
            for (std::int64_t r = 0; r < t.rows; ++r) {
              own.get_row(0, r, a.data());
              theirs.get_row(0, r, b.data());
              CHECK(a == b);
            }
            ++compared;
          });
    });
    return compared;
  };
  alone<mamba> mixer(11);
  alone<mlp> ffn(11);
  CHECK(same(mixer) == mixer.weights().count);
  CHECK(same(ffn) == 3);
  std::vector<float> row(width);
  alone<mlp>().weights().get<"up_proj">().get_row(0, 0, row.data());
  CHECK(row == std::vector<float>(width));
}

TEST_CASE("single_layer: its settings are used") {
  plait::exec::cpu<> exec(1);
  auto x = input<float>(4);
  auto const with = [&](float eps) {
    alone<mamba> layer(5, {.norm_eps = eps});
    layer.reserve(exec, 4);
    auto sequence = layer.make();
    matrix<float> y(4);
    layer.forward(exec, sequence, x.view(), y.view());
    return y.values;
  };
  CHECK(with(1e-6f) == with(1e-6f));
  CHECK(with(1e-6f) != with(1.0f));
}

TEST_CASE("single_layer: an observer sees the values of a feed-forward once per call") {
  plait::exec::cpu<> exec(1);
  alone<moe> layer(1);
  layer.reserve(exec, 3);
  auto x = input<float>(3);
  matrix<float> y(3);
  std::vector<std::string> seen;
  layer.forward(exec, x.view(), y.view(), [&](char const* name, auto const& m) {
    seen.push_back(name);
    CHECK(m.rows() == 3);
  });
  CHECK(seen == std::vector<std::string>{"router_logits", "experts", "expert_weights"});
}

TEST_CASE("single_layer: a refused call changes nothing") {
  plait::exec::cpu<> exec(1);
  alone<attention> layer(1);
  auto sequence = layer.make();
  sequence.reserve(64);
  auto x = input<float>(70);
  matrix<float> y(70);
  auto const call = [&](std::int64_t rows, std::int64_t out) {
    return test::message_of([&] {
      layer.forward(exec, sequence, x.view().middle_rows(0, rows), y.view().middle_rows(0, out));
    });
  };
  CHECK(call(2, 2) ==
        "forward: the sequence grows to 2 tokens, the layer's page table has room for 0: call the "
        "layer's reserve with that context");
  layer.reserve(exec, 1, 64);
  CHECK(call(64, 64).find("tokens need") != std::string::npos);
  CHECK(call(70, 70) ==
        "forward: the sequence has 70 new tokens and room for 64: call reserve on it");
  sequence.reserve(70);
  CHECK(call(70, 70) ==
        "forward: the sequence grows to 70 tokens, the layer's page table has room for 64: call "
        "the layer's reserve with that context");
  CHECK(call(2, 3) ==
        "forward: x is 2 x 40, y is 3 x 40; both must have one row per token and 40 columns");
  CHECK(test::message_of(
            [&] { layer.forward(exec, sequence, x.view().middle_cols(0, 8), y.view()); }) ==
        "forward: x is 70 x 8, y is 70 x 40; both must have one row per token and 40 columns");
  plait::single_layer<width, plait::attention{.num_heads = 4, .num_kv_heads = 4}> wider(1);
  auto foreign = wider.make();
  CHECK(test::message_of([&] {
          layer.forward(exec, foreign, x.view().middle_rows(0, 1), y.view().middle_rows(0, 1));
        }) == "forward: the sequence belongs to another layer");
  CHECK(test::message_of([&] { layer.reserve(exec, 0); }) ==
        "reserve: between 1 and 4194304 tokens per call and a context of up to 2^40, not 0 and "
        "65536");
  CHECK(sequence.length() == 0);
  CHECK(std::all_of(y.values.begin(), y.values.end(), [](float v) { return v == -7; }));

  alone<mlp> ffn(1);
  plait::exec::cpu<> fresh(1);
  CHECK(test::message_of([&] {
          ffn.forward(fresh, x.view(), y.view());
        }).find("call the layer's reserve") != std::string::npos);
  CHECK(std::all_of(y.values.begin(), y.values.end(), [](float v) { return v == -7; }));

  layer.reserve(exec, 70, 70);
  CHECK(call(70, 70) == "(no error)");
  CHECK(sequence.length() == 70);
}
