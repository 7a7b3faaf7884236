// Layers and models measured on the emulator: memory, time and bounds are a device's.
#include <plait/benchmark.hpp>

#include <support/benchmarks.hpp>
#include <support/data.hpp>
#include <support/device_ops.hpp>
#include <support/wrong_layers.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using plait::bench::routing;
using plait::bench::weights;
using test::append;
using test::broken;
using test::error_of_benchmark;
using test::mistake;
using test::run_benchmarks;
using test::stubborn;
template <plait::precision P = plait::bf16>
using device = plait::exec::emulated<P>;

constexpr int width = 48;
constexpr plait::attention attention{.num_heads = 4, .num_kv_heads = 2};
constexpr plait::mamba mamba{.d_state = 5, .d_conv = 3, .expand = 2};
constexpr plait::mlp mlp{.d_ff = 70};
constexpr plait::moe moe{.d_ff = 50, .num_experts = 8, .top_k = 2};
constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> small{
    .d_model = width,
    .vocab_size = 130,
    .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = attention,
    .recurrent = mamba,
    .dense = mlp,
    .sparse = moe};
template <auto Policy>
using layer = plait::layer<width, Policy>;

void check_complete(test::benchmark_result const& r) {
  test::check_reported(r);
  CHECK(r.name.find("threads") == std::string::npos);
}

}  // namespace

TEST_CASE("device: every kind of layer runs at every point, checked and counted") {
  auto const results = run_benchmarks([] {
    auto all = plait::bench::register_layer<layer<mamba>, device<>>(
        "mamba", {.tokens = {1, 9}, .context = {0, 5}, .max_bytes = 60000});
    append(all, plait::bench::register_layer<layer<attention>, device<>>(
                    "attention", {.tokens = {1, 5}, .context = {70}, .weights = weights::warm}));
    append(all, plait::bench::register_layer<layer<mlp>, device<plait::int8>>(
                    "mlp", {.tokens = {3}, .context = {0, 70}, .threads = {1}}));
    append(all, plait::bench::register_layer<plait::single_layer<width, mamba, device<plait::f32>>>(
                    "f32", {.tokens = {2}}));
    return all;
  });
  REQUIRE(results.size() == 4 + 2 + 1 + 1);
  for (auto const& r : results) check_complete(r);
  CHECK(results[0].name.find("mamba/bf16/tokens:1/context:0/weights:cold") == 0);
  CHECK(results[4].name.find("attention/bf16/tokens:1/context:70/weights:warm") == 0);
  CHECK(results[4].label.find("1 copy, ") == 0);
  CHECK(results[6].name.find("mlp/int8/tokens:3/weights:cold") == 0);
  // Activations of two bytes, weights as they are stored.
  CHECK(
      results[6].bytes(3) ==
      doctest::Approx(double(plait::policies::bytes(mlp, width, plait::int8)) + 2.0 * 2 * width * 3)
          .epsilon(1e-6));
  CHECK(results[7].bytes(2) ==
        doctest::Approx(double(plait::policies::bytes(mamba, width, plait::f32)) +
                        2.0 * 4 * double(plait::policies::state(mamba, width)) +
                        2.0 * 4 * width * 2)
            .epsilon(1e-6));
}

TEST_CASE("device: cold weights are as many copies as its cache cannot hold") {
  auto const copies = [](std::int64_t room) {
    auto const results = run_benchmarks([&] {
      return plait::bench::register_layer<layer<mlp>, device<>>("mlp",
                                                                {.tokens = {1}, .max_bytes = room});
    });
    REQUIRE(results.size() == 1);
    check_complete(results[0]);
    return results[0].label;
  };
  std::int64_t const one = plait::policies::bytes(mlp, width, plait::bf16);
  device<> exec;
  std::int64_t const cold = 8 * exec.runtime.last_level_cache_bytes();
  CHECK(plait::bench::cold_bytes(exec) == cold);
  CHECK(copies(0).find(std::to_string(cold / one + 1) + " copies, ") == 0);
  CHECK(copies(0).find("no room to be cold") == std::string::npos);
  CHECK(copies(1).find("1 copy, ") == 0);
  CHECK(copies(3 * one).find("3 copies, ") == 0);
  CHECK(copies(3 * one).find("no room to be cold") != std::string::npos);
}

TEST_CASE("device: experts are reached as the routing assigns them, and bytes counted as reached") {
  auto const of = [](routing r, std::int64_t tokens) {
    auto const results = run_benchmarks([&] {
      return plait::bench::register_layer<layer<moe>, device<>>(
          "moe", {.tokens = {tokens}, .weights = weights::warm, .routing = r});
    });
    REQUIRE(results.size() == 1);
    check_complete(results[0]);
    CHECK(results[0].name.find(std::string("routing:") + plait::bench::name_of(r)) !=
          std::string::npos);
    std::string const& label = results[0].label;
    double const reached = std::stod(label.substr(label.find("; ") + 2));
    double const bytes = double(plait::policies::bytes(moe, width, plait::bf16, reached)) +
                         2.0 * 2 * width * double(tokens);
    CHECK(results[0].bytes(double(tokens)) == doctest::Approx(bytes).epsilon(1e-6));
    return reached;
  };
  CHECK(of(routing::one, 6) == 2);
  CHECK(of(routing::balanced, 3) == 6);
  CHECK(of(routing::balanced, 6) == 8);
  CHECK(of(routing::zipf, 2) < 5);
  CHECK(of(routing::random, 6) > 2);
}

TEST_CASE("device: a wrong layer is an error with a sentence, and has no time") {
  using plait::bench::register_layer;
  plait::bench::layer_options const few{.tokens = {3}, .max_bytes = 1};
  plait::bench::layer_options const many{.tokens = {8}, .max_bytes = 1};
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{}>, device<plait::f32>>("right", many);
        }) == "");
  CHECK(error_of_benchmark(
            [&] { return register_layer<layer<broken{}>, device<>>("right", many); }) == "");
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{mistake::percent}>, device<plait::f32>>("percent",
                                                                                     many);
        }).find("the result is off by ") == 0);
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{mistake::half}>, device<>>("half", many);
        }).find("the result is off by ") == 0);
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{mistake::not_a_number}>, device<>>("nan", many);
        }).find("the result is off by nan") == 0);
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{mistake::library_gemm}>, device<>>("rows", few);
        }) == "");
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<broken{mistake::library_gemm}>, device<>>("rows", many);
        }).find("the first rows of 8 are not those of a call with 3: the result is off by ") == 0);
  CHECK(error_of_benchmark(
            [&] { return register_layer<layer<stubborn{}>, device<>>("stubborn", many); }) == "");
  CHECK(error_of_benchmark([&] {
          return register_layer<layer<stubborn{}>, device<>>(
              "stubborn", {.tokens = {8}, .routing = routing::balanced, .max_bytes = 1});
        }) == "tokens do not go to the experts that routing balanced assigns to them");
}

TEST_CASE("device: a model runs at every point, its decode steps captured") {
  auto const results = run_benchmarks([] {
    auto all = plait::bench::register_model<small, device<>>("small", {.tokens = {1, 6},
                                                                       .context = {5},
                                                                       .weights = weights::cold,
                                                                       .by_layer = true,
                                                                       .max_bytes = 1 << 20});
    append(all, plait::bench::register_model<small, device<plait::f32>>(
                    "f32", {.tokens = {1, 4},
                            .sequences = {2},
                            .weights = weights::warm,
                            .routing = routing::balanced}));
    return all;
  });
  REQUIRE(results.size() == 4);
  for (auto const& r : results) {
    check_complete(r);
    CHECK(r.counter("parameters") == double(plait::count(small).total_parameters));
  }
  CHECK(results[0].name.find("small/bf16/tokens:1/context:5/weights:cold/routing:random") == 0);
  CHECK(results[0].label.find("1 copy, ") ==
        std::string::npos);  // copies, each with a step of its own
  CHECK(results[1].counter("kv_bytes") == double(plait::kv_cache_bytes(small, 11, 2)));
  CHECK(results[3].label.find("; 8 experts reached per layer") != std::string::npos);
  auto& tables = plait::bench::detail::tables();
  REQUIRE(tables.size() == 2);
  for (auto const& table : tables) {
    REQUIRE(table.second.rows.size() == 2 + 2 * 2);
    for (auto const& row : table.second.rows) CHECK(row.measured > 0);
  }
  tables.clear();
}

TEST_CASE("device: a timed decode step is launched as one captured graph") {
  using subject = plait::bench::detail::model_subject<small, device<>>;
  plait::bench::detail::measurement<subject> timed(
      std::make_shared<subject const>(routing::random, 0), {.weights = weights::warm});
  timed.move_to({.tokens = 1, .context = 3}, 1);
  REQUIRE(timed.error() == "");
  timed.warm_up();
  auto const& launches = timed.exec().runtime.launches;
  std::size_t const before = launches.size();
  timed.next_copy();
  timed.run();
  CHECK(before > 0);
  CHECK(launches.size() == before);
}

TEST_CASE("device: a model with a wrong layer has no time; a stack of layers needs no vocabulary") {
  // The first token's feed-forward is wrong: Mamba's state carries it to the last one's logits.
  static constexpr auto wrong = [](mistake how) {
    return plait::hybrid<plait::none, plait::mamba, broken, plait::none>{
        .d_model = width,
        .vocab_size = 40,
        .layers = {.blocks = 1, .layers_per_block = 2, .recur = 1},
        .recurrent = mamba,
        .dense = {.how = how}};
  };
  static constexpr auto is_nan = wrong(mistake::not_a_number);
  static constexpr auto is_half = wrong(mistake::half);
  auto results = run_benchmarks([] {
    auto all = plait::bench::register_model<is_nan, device<plait::f32>>(
        "nan", {.tokens = {2}, .max_bytes = 1});
    all.push_back(plait::bench::register_model<is_half, device<plait::f32>>(
                      "half", {.tokens = {2}, .max_bytes = 1})
                      .front());
    return all;
  });
  REQUIRE(results.size() == 2);
  CHECK(results[0].error.find("the result is off by nan") == 0);
  CHECK(results[1].error.find("the result of 2 tokens is not that of the same tokens in two calls: "
                              "the result is off by ") == 0);
  for (auto const& r : results) CHECK(std::isnan(r.counter("tokens/s")));
  static constexpr auto stack = [] {
    auto c = small;
    c.vocab_size = plait::no_vocabulary;
    return c;
  }();
  results = run_benchmarks([] {
    return plait::bench::register_model<stack, device<>>(
        "stack", {.tokens = {1, 7}, .context = {2}, .routing = routing::zipf, .max_bytes = 1});
  });
  REQUIRE(results.size() == 2);
  for (auto const& r : results) check_complete(r);
}

TEST_CASE("device: both rates are measured, with work as small as the runtime says") {
  device<> exec;
  for (plait::dtype products : {plait::dtype::f32, plait::dtype::bf16}) {
    auto const r = plait::bench::probe_roofline(exec, products);
    CHECK(r.known());
    CHECK(r.flops < 1e12);
    CHECK(r.bytes < 1e12);
  }
  CHECK(test::message_of([] {
          plait::bench::register_layer<layer<mlp>, device<>>("name", {.threads = {2}});
        }) == "register name: a device has no threads to choose: leave them out");
  CHECK(test::message_of([] {
          plait::bench::register_layer<layer<mlp>, device<>>("name", {.threads = {0}});
        }) == "register name: threads is between 1 and 4096, not 0");
  CHECK(plait::bench::device_tolerance(plait::f32, 4, true) == 1e-4);
  CHECK(plait::bench::device_tolerance(plait::int8, 1, true) == 5e-2);
  CHECK(plait::bench::device_tolerance(plait::bf16, 4, false) == 1e-1);
  CHECK(plait::bench::device_tolerance(plait::bf16, 4, true) == 2e-1);
}

TEST_CASE("device: matrices are copied to the device and back, strided views too") {
  using memory = plait::emulator::memory;
  plait::bench::matrix<float> const drawn(5, 7, 3);
  plait::bench::placed<float, memory> const there(drawn);
  auto const back = there.fetch();
  auto const part = plait::bench::fetch<memory>(there.read().middle_cols(2, 3));
  auto const here = plait::bench::fetch<plait::host_memory>(drawn.read().middle_cols(2, 3));
  REQUIRE(part.read().rows() == 5);
  REQUIRE(part.read().cols() == 3);
  for (int r = 0; r < 5; ++r)
    for (int c = 0; c < 7; ++c) {
      CHECK(back.read()(r, c) == drawn.read()(r, c));
      if (c >= 2 && c < 5) CHECK(part.read()(r, c - 2) == drawn.read()(r, c));
      if (c >= 2 && c < 5) CHECK(here.read()(r, c - 2) == drawn.read()(r, c));
    }
  CHECK(plait::bench::fetch<memory>(plait::matrix_view<float const>()).read().rows() == 0);
}
