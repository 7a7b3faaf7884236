#include <plait/benchmark.hpp>

#include <support/benchmarks.hpp>
#include <support/data.hpp>
#include <support/wrong_layers.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using plait::bench::layer_options;
using plait::bench::model_options;
using plait::bench::routing;
using plait::bench::weights;
using cpu = plait::exec::cpu<>;
using result = test::benchmark_result;
using test::append;
using test::broken;
using test::error_of_benchmark;
using test::mistake;
using test::run_benchmarks;
using test::stubborn;

constexpr int width = 48;
constexpr plait::attention attention{.num_heads = 4, .num_kv_heads = 2};
constexpr plait::mamba mamba{.d_state = 5, .d_conv = 3, .expand = 2};
constexpr plait::mlp mlp{.d_ff = 70};
constexpr plait::moe moe{.d_ff = 50, .num_experts = 8, .top_k = 2};

/// All counters are reported, and the rates agree with each other: the predicted time is the
/// roofline's for the counted work.
void check_complete(result const& r) {
  test::check_reported(r);
  double const seconds = 1e-6 * r.counter("predicted_us") / (r.counter("roofline_%") / 100);
  double const flops = r.counter("GFLOP/s") * seconds, bytes = r.counter("GB/s") * seconds;
  CHECK(1e-6 * r.counter("predicted_us") >=
        doctest::Approx(std::max(flops / r.counter("peak_GFLOP/s"), bytes / r.counter("peak_GB/s")))
            .epsilon(1e-6));
}

template <auto Policy>
using layer = plait::layer<width, Policy>;

layer_options few(std::vector<std::int64_t> tokens) {
  return {.tokens = std::move(tokens), .threads = {1}, .max_bytes = 1 << 20};
}

/// A user's mixer: h_t = h_(t-1) / 2 + x_t per channel, y = proj h.
struct echo {};
template <class Visit>
constexpr void describe(echo const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "proj", .rows = d_model, .cols = d_model});
}
constexpr std::int64_t state_values(echo const&, int d_model) { return d_model; }
template <int D, echo P>
struct echo_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;
  static constexpr plait::continuation continues = plait::continuation::bitwise;
  template <class Exec, class Weights, class See, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::sequences<T> const& seqs,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, See&&) {
    plait::arena::frame const scratch(exec.workspace);
    auto const h = exec.template matrix<T>(x.rows(), D);
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t)
        for (std::int64_t c = 0; c < D; ++c)
          h(t, c) = seqs.state_of(s)[c] = seqs.state_of(s)[c] / 2 + x(t, c);
    });
    plait::ops::linear(exec, h, plait::ops::into(y, w.template get<"proj">()));
  }
};

constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> small{
    .d_model = width,
    .vocab_size = 130,
    .layers = {.blocks = 1, .layers_per_block = 4, .attend = 1, .recur = 3, .moe_every = 2},
    .attention = attention,
    .recurrent = mamba,
    .dense = mlp,
    .sparse = moe};

/// A user's subject: y = 2 x + y, of `tokens` numbers per sequence.
struct axpy {
  using exec_type = cpu;
  struct copy {
    std::vector<float> x, y;
  };
  static constexpr plait::bench::parameters depends{.sequences = true};
  bool wrong = false;
  std::int64_t n = 0;
  int *made = nullptr, *rewound = nullptr;

  void begin(cpu&, plait::bench::call const& what) { n = what.tokens * what.sequences; }
  void prepare(cpu&, std::unique_ptr<copy>& one) {
    auto const size = static_cast<std::size_t>(n);
    one = std::make_unique<copy>(copy{std::vector<float>(size, 1), std::vector<float>(size, 0)});
    if (made != nullptr) ++*made;
  }
  plait::bench::verdict check(cpu& exec, copy& c) {
    run(exec, c);
    return {c.y[0] == (wrong ? 3.0f : 2.0f) ? "" : "y is not 2 x", 0};
  }
  void rewind(copy& c) {
    c.y.assign(c.y.size(), 0);
    if (rewound != nullptr) ++*rewound;
  }
  void run(cpu&, copy& c) {
    for (std::size_t i = 0; i < c.x.size(); ++i) c.y[i] += 2 * c.x[i];
  }
  plait::bench::call_cost cost() const { return {2.0 * double(n), 12.0 * double(n)}; }
  std::string note() const { return "; of a user's own"; }
  template <class Counters>
  void add_counters(Counters& out) const {
    out["numbers"] = double(n);
  }
};

/// An op whose first rows are wrong where there are many, or in f32.
enum class op_mistake { none, many, f32 };
template <op_mistake How>
constexpr auto doubled = []<class Exec>(Exec&, std::int64_t tokens, std::int64_t context) {
  using T = typename Exec::value_type;
  return plait::bench::op(plait::bench::matrix<T>(tokens, width),
                          {2.0 * width * double(tokens), 8.0 * width * double(tokens)},
                          [x = plait::bench::matrix<T>(tokens, width, 1), context](
                              Exec& exec, plait::matrix_view<T> y) {
                            bool const is_wrong =
                                (How == op_mistake::many && y.rows() > 3) ||
                                (How == op_mistake::f32 && sizeof(T) == 4 && context == 7);
                            exec.parallel(y.rows(), [&](std::int64_t r, int) {
                              for (std::int64_t c = 0; c < width; ++c)
                                y(r, c) = T(is_wrong ? 2.001 : 2.0) * x.read()(r, c);
                            });
                          });
};

}  // namespace

template <>
struct plait::layer_of<echo> {
  template <int D, echo P>
  using bind = echo_layer<D, P>;
};

static_assert(layer<mamba>::d_model == width && layer<mamba>::policy == mamba &&
              layer<attention>::policy == attention);
static_assert(layer<mlp>::policy == mlp && layer<moe>::policy == moe &&
              plait::layer<width, plait::rms_norm{}>::d_model == width);

TEST_CASE("every kind of layer runs at every point, checked and counted") {
  auto const results = run_benchmarks([] {
    auto all = plait::bench::register_layer<layer<attention>, cpu>(
        "attention",
        {.tokens = {1, 5}, .context = {0, 70, 200}, .threads = {1, 2}, .weights = weights::warm});
    append(all, plait::bench::register_layer<layer<mamba>, cpu>("mamba", few({1, 4, 33})));
    append(all,
           plait::bench::register_layer<layer<mlp>>(
               "mlp", {.tokens = {1}, .context = {0, 70}, .threads = {1}, .max_bytes = 1 << 20}));
    append(all, plait::bench::register_layer<plait::single_layer<width, moe>>("moe", few({7})));
    append(all,
           plait::bench::register_layer<layer<echo{}>>(
               "echo", {.tokens = {1, 9}, .context = {3}, .threads = {1}, .max_bytes = 1 << 20}));
    return all;
  });
  REQUIRE(results.size() == 12 + 3 + 1 + 1 + 2);  // a feed-forward has no context
  for (auto const& r : results) check_complete(r);
  CHECK(results[0].name.find("attention/f32/tokens:1/context:0/threads:1/weights:warm") == 0);
  CHECK(results[0].label.find("1 copy, ") == 0);
  CHECK(results[15].name.find("mlp/f32/tokens:1/threads:1/weights:cold") == 0);
  CHECK(results[16].name.find("moe/f32/tokens:7/threads:1/weights:cold/routing:random") == 0);
  CHECK(results[16].label.find(" experts reached") != std::string::npos);
  CHECK(results[17].name.find("echo/f32/tokens:1/context:3") == 0);
}

TEST_CASE("cold weights are as many copies as there is room for") {
  auto const copies = [](std::int64_t room) {
    auto const results = run_benchmarks([&] {
      return plait::bench::register_layer<layer<mlp>>(
          "mlp", {.tokens = {1}, .threads = {1}, .max_bytes = room});
    });
    REQUIRE(results.size() == 1);
    check_complete(results[0]);
    return results[0].label;
  };
  std::int64_t const one = plait::policies::bytes(mlp, width, plait::f32);
  CHECK(copies(1).find("1 copy, ") == 0);
  CHECK(copies(5 * one).find("5 copies, ") == 0);
  CHECK(copies(5 * one).find("no room to be cold") != std::string::npos);
}

TEST_CASE("experts are reached as the routing assigns them, and bytes counted as reached") {
  auto const of = [](routing r, std::int64_t tokens) {
    auto const results = run_benchmarks([&] {
      return plait::bench::register_layer<layer<moe>>(
          "moe", {.tokens = {tokens}, .threads = {1}, .weights = weights::warm, .routing = r});
    });
    REQUIRE(results.size() == 1);
    check_complete(results[0]);
    CHECK(results[0].name.find(std::string("routing:") + plait::bench::name_of(r)) !=
          std::string::npos);
    std::string const& label = results[0].label;
    double const reached = std::stod(label.substr(label.find("; ") + 2));
    double const bytes = double(plait::policies::bytes(moe, width, plait::f32, reached)) +
                         2.0 * 4 * width * double(tokens);
    CHECK(results[0].bytes(double(tokens)) == doctest::Approx(bytes).epsilon(1e-6));
    return reached;
  };
  CHECK(of(routing::one, 50) == 2);
  CHECK(of(routing::balanced, 3) == 6);
  CHECK(of(routing::balanced, 50) == 8);
  CHECK(of(routing::zipf, 2) < 5);
  CHECK(of(routing::zipf, 200) == 8);
  CHECK(of(routing::random, 100) == 8);
}

TEST_CASE("a wrong layer is an error with a sentence, and has no time") {
  CHECK(error_of_benchmark(
            [] { return plait::bench::register_layer<layer<broken{}>>("right", few({8})); }) == "");
  CHECK(error_of_benchmark([] {
          return plait::bench::register_layer<layer<broken{mistake::percent}>>("percent", few({8}));
        }).find("the result is off by ") == 0);
  CHECK(error_of_benchmark([] {
          return plait::bench::register_layer<layer<broken{mistake::not_a_number}>>("nan",
                                                                                    few({8}));
        }).find("the result is off by nan") == 0);
  CHECK(error_of_benchmark([] {
          return plait::bench::register_layer<layer<broken{mistake::library_gemm}>>("rows",
                                                                                    few({3}));
        }) == "");
  CHECK(error_of_benchmark([] {
          return plait::bench::register_layer<layer<broken{mistake::library_gemm}>>("rows",
                                                                                    few({8}));
        }) == "row 0 of 8 is not that of a call with 3, bit for bit");
  auto options = few({8});
  CHECK(error_of_benchmark([&] {
          return plait::bench::register_layer<layer<stubborn{}>>("stubborn", options);
        }) == "");
  options.routing = routing::balanced;
  CHECK(error_of_benchmark([&] {
          return plait::bench::register_layer<layer<stubborn{}>>("stubborn", options);
        }) == "tokens do not go to the experts that routing balanced assigns to them");
}

TEST_CASE("a model runs at every point, with what it has and keeps") {
  auto const results = run_benchmarks([] {
    return plait::bench::register_model<small, cpu>("small", {.tokens = {1, 20},
                                                              .context = {0, 70},
                                                              .sequences = {1, 3},
                                                              .threads = {2},
                                                              .weights = weights::warm,
                                                              .by_layer = true});
  });
  REQUIRE(results.size() == 8);
  for (auto const& r : results) {
    check_complete(r);
    CHECK(r.counter("parameters") == double(plait::count(small).total_parameters));
    CHECK(r.counter("active_parameters") == double(plait::count(small).active_parameters));
  }
  CHECK(results[0].name.find(
            "small/f32/tokens:1/context:0/sequences:1/threads:2/weights:warm/routing:random") == 0);
  CHECK(results[7].counter("state_bytes") == double(plait::recurrent_state_bytes(small, 3)));
  CHECK(results[7].counter("kv_bytes") == double(plait::kv_cache_bytes(small, 90, 4, 3)));
  auto& tables = plait::bench::detail::tables();
  REQUIRE(tables.size() == 8);
  for (auto const& table : tables) {
    CAPTURE(table.first);
    REQUIRE(table.second.rows.size() == 2 + 4 * 2);
    for (auto const& row : table.second.rows) CHECK(row.measured > 0);
  }
  tables.clear();
}

namespace {
template <plait::precision P>
void check_precision(std::string const& name) {
  CAPTURE(name);
  using exec = plait::exec::cpu<P>;
  auto const results = run_benchmarks([&] {
    auto all = plait::bench::register_layer<layer<attention>, exec>(
        "attention", {.tokens = {5}, .context = {70}, .threads = {1}, .max_bytes = 1});
    append(all, plait::bench::register_layer<layer<mamba>, exec>("mamba", few({5})));
    append(all, plait::bench::register_layer<layer<mlp>, exec>("mlp", few({5})));
    append(all,
           plait::bench::register_layer<layer<moe>, exec>(
               "moe", {.tokens = {5}, .threads = {1}, .routing = routing::zipf, .max_bytes = 1}));
    append(all, plait::bench::register_model<small, exec>(
                    "small",
                    {.tokens = {5}, .threads = {1}, .routing = routing::balanced, .max_bytes = 1}));
    return all;
  });
  REQUIRE(results.size() == 5);
  for (auto const& r : results) {
    check_complete(r);
    CHECK(r.name.find("/" + name + "/") != std::string::npos);
  }
  // weights as they are stored
  CHECK(results[2].bytes(5) ==
        doctest::Approx(double(plait::policies::bytes(mlp, width, P)) + 2.0 * 4 * width * 5)
            .epsilon(1e-6));
}
}  // namespace

TEST_CASE("every precision is checked with its own weights and counted in its own bytes") {
  SUBCASE("bf16") { check_precision<plait::bf16>("bf16"); }
  SUBCASE("bf16 dot") {
    check_precision<plait::with_compute(plait::bf16, plait::dtype::bf16)>("bf16,compute:bf16");
  }
  SUBCASE("int8") { check_precision<plait::int8>("int8"); }
  SUBCASE("int8 dot") {
    check_precision<plait::with_compute(plait::int8, plait::dtype::int8)>("int8,compute:int8");
  }
}

TEST_CASE("a model's tokens are routed as assigned, in every layer") {
  for (routing r : {routing::random, routing::balanced, routing::zipf, routing::one}) {
    CAPTURE(int(r));
    auto const results = run_benchmarks([&] {
      return plait::bench::register_model<small, cpu>(
          "small",
          {.tokens = {1, 40}, .context = {0, 9}, .threads = {1}, .routing = r, .max_bytes = 1});
    });
    REQUIRE(results.size() == 4);
    for (auto const& one : results) check_complete(one);
    if (r == routing::one)
      for (auto const& one : results)
        CHECK(one.label.find("; 2 experts reached per layer") != std::string::npos);
    if (r == routing::balanced)
      CHECK(results[1].label.find("; 8 experts reached per layer") != std::string::npos);
  }
}

TEST_CASE(
    "a model too large for the reference says that it is unchecked; a stack of layers needs no "
    "vocabulary") {
  auto results = run_benchmarks([] {
    return plait::bench::register_model<small, cpu>(
        "small", {.tokens = {2}, .threads = {1}, .max_bytes = 1, .max_check_bytes = 1});
  });
  REQUIRE(results.size() == 1);
  CHECK(results[0].error == "");
  CHECK(results[0].label.find("unchecked: the reference has no room") != std::string::npos);
  static constexpr auto stack = [] {
    auto c = small;
    c.vocab_size = plait::no_vocabulary;
    return c;
  }();
  for (routing r : {routing::random, routing::zipf}) {
    results = run_benchmarks([&] {
      return plait::bench::register_model<stack, cpu>(
          "stack",
          {.tokens = {1, 30}, .context = {5}, .threads = {1}, .routing = r, .max_bytes = 1});
    });
    REQUIRE(results.size() == 2);
    for (auto const& one : results) check_complete(one);
  }
}

TEST_CASE("a subject of a user's own has all that layers have") {
  int made = 0, rewound = 0;
  auto const results = run_benchmarks([&] {
    return plait::bench::register_subject("axpy", axpy{.made = &made, .rewound = &rewound},
                                          {.tokens = {100, 200},
                                           .context = {0, 5},
                                           .sequences = {1, 3},
                                           .threads = {1},
                                           .max_bytes = 3 * 12 * 200});
  });
  REQUIRE(results.size() == 4);  // it depends on no context
  for (auto const& r : results) check_complete(r);
  CHECK(results[0].name.find("axpy/f32/tokens:100/sequences:1/threads:1/weights:cold") == 0);
  CHECK(results[0].label.find("6 copies, 7.2 kB (no room to be cold); of a user's own; off by ") ==
        0);
  CHECK(results[3].label.find("1 copy, ") == 0);
  CHECK(results[3].counter("numbers") == 600);
  CHECK(results[3].bytes(600) == doctest::Approx(12.0 * 600));
  CHECK(made == 6 + 3 + 2 + 1);
  CHECK(rewound >= 4 * 3);
  CHECK(error_of_benchmark([] {
          return plait::bench::register_subject("axpy", axpy{.wrong = true},
                                                {.tokens = {4}, .threads = {1}});
        }) == "y is not 2 x");
}

TEST_CASE("an op is compared with the reference at each context, and with a call with few tokens") {
  auto const error_of = [](auto const& make) {
    return error_of_benchmark([&] {
      return plait::bench::register_op(
          "doubled", make,
          {.tokens = {8}, .context = {7}, .threads = {1}, .weights = weights::warm});
    });
  };
  CHECK(error_of(doubled<op_mistake::none>) == "");
  CHECK(error_of(doubled<op_mistake::many>) ==
        "row 0 of 8 is not that of a call with 3, bit for bit");
  CHECK(error_of(doubled<op_mistake::f32>).find("the result is off by ") == 0);
  auto const results = run_benchmarks([] {
    return plait::bench::register_op("doubled", doubled<op_mistake::f32>,
                                     {.tokens = {1, 8}, .threads = {1}, .weights = weights::warm});
  });
  REQUIRE(results.size() == 2);
  for (auto const& r : results) check_complete(r);
  CHECK(results[1].name.find("doubled/f32/tokens:8/context:0/threads:1/weights:warm") == 0);
}

TEST_CASE("options out of range") {
  auto const message = [](layer_options const& o) {
    return test::message_of([&] { plait::bench::register_layer<layer<moe>>("name", o); });
  };
  CHECK(message({.tokens = {}}) ==
        "register name: tokens is an empty list, so that there is nothing to measure");
  CHECK(message({.tokens = {1, 0}}).find("register name: tokens is between 1 and ") == 0);
  CHECK(message({.context = {-1}}).find("register name: context is between 0 and ") == 0);
  CHECK(message({.threads = {0}}) == "register name: threads is between 1 and 4096, not 0");
  static constexpr plait::moe many{.d_ff = 8, .num_experts = 20, .top_k = 1};
  CHECK(test::message_of([] {
          plait::bench::register_layer<plait::layer<16, many>>("many", {.routing = routing::zipf});
        }) ==
        "register many: routing zipf needs a channel per expert, but num_experts is 20 and d_model "
        "16");
  static constexpr auto wide = [] {
    auto c = small;
    c.sparse.num_experts = 64;
    return c;
  }();
  CHECK(test::message_of([] {
          plait::bench::register_model<wide>("wide", {.routing = routing::one});
        }) == "register wide: routing one needs a channel per expert, 64 of d_model 48");
  CHECK(test::message_of([] {
          plait::bench::register_model<small>("small", {.sequences = {0}});
        }).find("register small: sequences is between 1") == 0);
  ::benchmark::ClearRegisteredBenchmarks();
}
