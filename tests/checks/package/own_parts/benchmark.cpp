// Benchmarks of the custom parts.
#include "parts.hpp"

#include <benchmark/benchmark.h>

#include <vector>

namespace {

template <auto Policy>
void layer(benchmark::State& state) {
  constexpr int width = 64;
  std::int64_t const tokens = state.range(0);
  plait::exec::cpu<> exec(1);
  plait::single_layer<width, Policy> one(42);
  one.reserve(exec, tokens);
  std::vector<float> x(std::size_t(tokens * width), 0.5f), y(x.size());
  plait::matrix_view<float const> const in(x.data(), tokens, width);
  plait::matrix_view<float> const out(y.data(), tokens, width);
  if constexpr (one.is_mixer) {
    auto sequence = one.make();
    for (auto _ : state) one.forward(exec, sequence, in, out);
  } else {
    for (auto _ : state) one.forward(exec, in, out);
  }
  state.counters["tokens/s"] =
      benchmark::Counter(double(tokens), benchmark::Counter::kIsIterationInvariantRate);
}

void norm(benchmark::State& state) {
  plait::exec::cpu<> exec(1);
  plait::weights<zoo::layer_norm{}, 64, plait::storage::packed<>> w;
  plait::initialize(w, 1);
  std::vector<float> x(64 * 64, 0.5f), y(x.size());
  for (auto _ : state)
    plait::layer<64, zoo::layer_norm{}>::forward(
        exec, w, {}, plait::matrix_view<float>(x.data(), 64, 64), plait::matrix_view<float const>(),
        plait::matrix_view<float>(y.data(), 64, 64));
}

constexpr zoo::ema averages{.width = 128};
constexpr zoo::squared_relu dense{.d_ff = 160};
constexpr zoo::balanced_moe sparse{.d_ff = 160, .num_experts = 8, .top_k = 2};

}  // namespace

BENCHMARK_TEMPLATE(layer, averages)->Name("ema")->Arg(1)->Arg(128);
BENCHMARK_TEMPLATE(layer, dense)->Name("squared_relu")->Arg(1)->Arg(128);
BENCHMARK_TEMPLATE(layer, sparse)->Name("balanced_moe")->Arg(1)->Arg(128);
BENCHMARK(norm)->Name("layer_norm");
BENCHMARK_MAIN();
