#include <plait/benchmark.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
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

constexpr int width = 48;
constexpr plait::attention attention{.num_heads = 4, .num_kv_heads = 2};
constexpr plait::mamba mamba{.d_state = 5, .d_conv = 3, .expand = 2};
constexpr plait::mlp mlp{.d_ff = 70};
constexpr plait::moe moe{.d_ff = 50, .num_experts = 8, .top_k = 2};

/// What Google Benchmark reports of one run.
struct result {
  std::string name, label, error;
  ::benchmark::UserCounters counters;
  double counter(std::string const& which) const {
    auto const at = counters.find(which);
    return at == counters.end() ? NAN : double(at->second);
  }
};

/// Why a run was skipped: Google Benchmark 1.8 has another name for it.
template <class Run>
std::string error_of(Run const& r) {
  if constexpr (requires { r.error_occurred; })
    return r.error_occurred ? r.error_message : "";
  else
    return r.skip_message;
}

class collect : public ::benchmark::BenchmarkReporter {
 public:
  std::vector<result> results;
  bool ReportContext(Context const&) override { return true; }
  void ReportRuns(std::vector<Run> const& runs) override {
    for (Run const& r : runs) {
      results.push_back({r.benchmark_name(), r.report_label, error_of(r), r.counters});
    }
  }
};

/// Runs what `add` registers, a moment each.
template <class Add>
std::vector<result> run(Add const& add) {
  ::benchmark::ClearRegisteredBenchmarks();
  for (auto* b : add()) b->Iterations(2);
  collect reporter;
  ::benchmark::RunSpecifiedBenchmarks(&reporter);
  ::benchmark::ClearRegisteredBenchmarks();
  plait::bench::detail::kept() = {};
  return reporter.results;
}

void check_complete(result const& r) {
  CAPTURE(r.name);
  CHECK(r.error == "");
  for (char const* name :
       {"tokens/s", "GFLOP/s", "GB/s", "predicted_us", "roofline_%", "peak_GFLOP/s", "peak_GB/s"}) {
    CAPTURE(name);
    CHECK(r.counter(name) > 0);
  }
  // The rates agree with each other: predicted is the roofline's time for the counted work.
  double const seconds = 1e-6 * r.counter("predicted_us") / (r.counter("roofline_%") / 100);
  double const flops = r.counter("GFLOP/s") * seconds, bytes = r.counter("GB/s") * seconds;
  CHECK(1e-6 * r.counter("predicted_us") >=
        doctest::Approx(std::max(flops / r.counter("peak_GFLOP/s"), bytes / r.counter("peak_GB/s")))
            .epsilon(1e-6));
  CHECK(r.label.find("off by ") != std::string::npos);
}

template <auto Policy>
using layer = plait::layer<width, Policy>;

layer_options few(std::vector<std::int64_t> tokens) {
  return {.tokens = std::move(tokens), .threads = {1}, .max_bytes = 1 << 20};
}

// ---- layers that are wrong, each in a way of its own
// -----------------------------------------------------------------------------------
enum class mistake { none, scale, nan, library_gemm };

struct broken {
  mistake how = mistake::none;
};
template <class Visit>
constexpr void describe(broken const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "proj", .rows = d_model, .cols = d_model});
}
template <int D, broken P>
struct broken_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;
  template <class Exec, class Weights, class See, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, See&&) {
    plait::ops::linear(exec, x, plait::ops::into(y, w.template get<"proj">()));
    if constexpr (!std::is_same_v<Exec, plait::exec::reference>)
      exec.parallel(y.rows(), [&](std::int64_t r, int) {
        if (P.how == mistake::scale) y(r, 1) *= T(1.01);
        if (P.how == mistake::nan && r == 1) y(r, 0) = std::numeric_limits<T>::quiet_NaN();
        if (P.how == mistake::library_gemm && y.rows() > 3) y(r, 2) = std::nextafter(y(r, 2), T(9));
      });
  }
};

/// A router that sends every token to the last experts, whatever its logits.
struct stubborn {
  int num_experts = 4, top_k = 1;
};
template <class Visit>
constexpr void describe(stubborn const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{
      .name = "router", .role = plait::role::router, .rows = p.num_experts, .cols = d_model});
  visit(plait::tensor{.name = "gate_proj",
                      .role = plait::role::expert,
                      .rows = 8,
                      .cols = d_model,
                      .copies = p.num_experts});
  visit(plait::tensor{.name = "up_proj",
                      .role = plait::role::expert,
                      .rows = 8,
                      .cols = d_model,
                      .copies = p.num_experts});
  visit(plait::tensor{.name = "down_proj",
                      .role = plait::role::expert,
                      .rows = d_model,
                      .cols = 8,
                      .copies = p.num_experts});
}
template <int D, stubborn P>
struct stubborn_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;
  template <class Exec, class Weights, class See, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, See&& see) {
    plait::arena::frame const scratch(exec.workspace);
    auto const logits = exec.template matrix<T>(x.rows(), P.num_experts);
    auto const plan = plait::ops::make_routing(exec, x.rows(), P.num_experts, P.top_k);
    plait::ops::linear(exec, x, plait::ops::into(logits, w.template get<"router">()));
    plait::ops::route_with(
        exec, logits, plan,
        [](T const*, std::int64_t n, std::int64_t, std::int32_t* expert, T* weight) {
          expert[0] = static_cast<std::int32_t>(n - 1);
          weight[0] = 1;
        });
    see("experts", plait::matrix_view<std::int32_t const>(plan.expert));
    plait::ops::experts(exec, x, plan, w.template get<"gate_proj">(), w.template get<"up_proj">(),
                        w.template get<"down_proj">(), y);
  }
};

// ---- a mixer of a user's own
// ---------------------------------------------------------------------------------------------------------------
/// h_t = h_(t-1) / 2 + x_t a channel, y = proj h.
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

}  // namespace

template <>
struct plait::layer_of<broken> {
  template <int D, broken P>
  using bind = broken_layer<D, P>;
};
template <>
struct plait::layer_of<stubborn> {
  template <int D, stubborn P>
  using bind = stubborn_layer<D, P>;
};
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
  auto const results = run([] {
    auto all = plait::bench::register_layer<layer<attention>, cpu>(
        "attention",
        {.tokens = {1, 5}, .context = {0, 70, 200}, .threads = {1, 2}, .weights = weights::warm});
    auto const add = [&](plait::bench::registered more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    add(plait::bench::register_layer<layer<mamba>, cpu>("mamba", few({1, 4, 33})));
    add(plait::bench::register_layer<layer<mlp>>(
        "mlp", {.tokens = {1}, .context = {0, 70}, .threads = {1}, .max_bytes = 1 << 20}));
    add(plait::bench::register_layer<plait::single_layer<width, moe>>("moe", few({7})));
    add(plait::bench::register_layer<layer<echo{}>>(
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
    auto const results = run([&] {
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

TEST_CASE("experts are reached as asked, and bytes counted as reached") {
  auto const of = [](routing r, std::int64_t tokens) {
    auto const results = run([&] {
      return plait::bench::register_layer<layer<moe>>(
          "moe", {.tokens = {tokens}, .threads = {1}, .weights = weights::warm, .routing = r});
    });
    REQUIRE(results.size() == 1);
    check_complete(results[0]);
    CHECK(results[0].name.find(std::string("routing:") + plait::bench::name_of(r)) !=
          std::string::npos);
    std::string const& label = results[0].label;
    double const reached = std::stod(label.substr(label.find("; ") + 2));
    double const seconds = double(tokens) / results[0].counter("tokens/s");
    double const bytes = double(plait::policies::bytes(moe, width, plait::f32, reached)) +
                         2.0 * 4 * width * double(tokens);
    CHECK(results[0].counter("GB/s") * 1e9 * seconds == doctest::Approx(bytes).epsilon(1e-6));
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
  auto const error_of = [](auto const& add) {
    auto const results = run(add);
    REQUIRE(results.size() == 1);
    if (!results[0].error.empty()) CHECK(std::isnan(results[0].counter("tokens/s")));
    return results[0].error;
  };
  CHECK(error_of([] { return plait::bench::register_layer<layer<broken{}>>("right", few({8})); }) ==
        "");
  CHECK(error_of([] {
          return plait::bench::register_layer<layer<broken{mistake::scale}>>("scale", few({8}));
        }).find("the result is off by ") == 0);
  CHECK(error_of([] {
          return plait::bench::register_layer<layer<broken{mistake::nan}>>("nan", few({8}));
        }).find("the result is off by nan") == 0);
  CHECK(error_of([] {
          return plait::bench::register_layer<layer<broken{mistake::library_gemm}>>("rows",
                                                                                    few({3}));
        }) == "");
  CHECK(error_of([] {
          return plait::bench::register_layer<layer<broken{mistake::library_gemm}>>("rows",
                                                                                    few({8}));
        }) == "row 0 of 8 is not that of a call with 3, bit for bit");
  auto options = few({8});
  CHECK(error_of([&] {
          return plait::bench::register_layer<layer<stubborn{}>>("stubborn", options);
        }) == "");
  options.routing = routing::balanced;
  CHECK(error_of([&] {
          return plait::bench::register_layer<layer<stubborn{}>>("stubborn", options);
        }) == "tokens do not go to experts as routing balanced wants them to");
}

TEST_CASE("a model runs at every point, with what it has and keeps") {
  auto const results = run([] {
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
  // Predicted beside measured, row by row.
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
  auto const results = run([&] {
    auto all = plait::bench::register_layer<layer<attention>, exec>(
        "attention", {.tokens = {5}, .context = {70}, .threads = {1}, .max_bytes = 1});
    auto const add = [&](plait::bench::registered more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    add(plait::bench::register_layer<layer<mamba>, exec>("mamba", few({5})));
    add(plait::bench::register_layer<layer<mlp>, exec>("mlp", few({5})));
    add(plait::bench::register_layer<layer<moe>, exec>(
        "moe", {.tokens = {5}, .threads = {1}, .routing = routing::zipf, .max_bytes = 1}));
    add(plait::bench::register_model<small, exec>(
        "small", {.tokens = {5}, .threads = {1}, .routing = routing::balanced, .max_bytes = 1}));
    return all;
  });
  REQUIRE(results.size() == 5);
  for (auto const& r : results) {
    check_complete(r);
    CHECK(r.name.find("/" + name + "/") != std::string::npos);
  }
  // weights as they are stored
  double const seconds = 5 / results[2].counter("tokens/s");
  CHECK(results[2].counter("GB/s") * 1e9 * seconds ==
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

TEST_CASE("a model's tokens are routed as asked, in every layer") {
  for (routing r : {routing::random, routing::balanced, routing::zipf, routing::one}) {
    CAPTURE(int(r));
    auto const results = run([&] {
      return plait::bench::register_model<small, cpu>(
          "small",
          {.tokens = {1, 40}, .context = {0, 9}, .threads = {1}, .routing = r, .max_bytes = 1});
    });
    REQUIRE(results.size() == 4);
    for (auto const& one : results) check_complete(one);
    if (r == routing::one)
      for (auto const& one : results)
        CHECK(one.label.find("; 2 experts a layer reached") != std::string::npos);
    if (r == routing::balanced)
      CHECK(results[1].label.find("; 8 experts a layer reached") != std::string::npos);
  }
}

TEST_CASE(
    "a model too large for the reference says that it is unchecked; a stack of layers needs no "
    "vocabulary") {
  auto results = run([] {
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
    results = run([&] {
      return plait::bench::register_model<stack, cpu>(
          "stack",
          {.tokens = {1, 30}, .context = {5}, .threads = {1}, .routing = r, .max_bytes = 1});
    });
    REQUIRE(results.size() == 2);
    for (auto const& one : results) check_complete(one);
  }
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
        "register many: routing zipf needs a channel an expert, but num_experts is 20 and d_model "
        "16");
  static constexpr auto wide = [] {
    auto c = small;
    c.sparse.num_experts = 64;
    return c;
  }();
  CHECK(test::message_of([] {
          plait::bench::register_model<wide>("wide", {.routing = routing::one});
        }) == "register wide: routing one needs a channel an expert, 64 of d_model 48");
  CHECK(test::message_of([] {
          plait::bench::register_model<small>("small", {.sequences = {0}});
        }).find("register small: sequences is between 1") == 0);
  ::benchmark::ClearRegisteredBenchmarks();
}
