// The speed of the four kinds of layers on this machine, at a quarter of Jamba v0.1's width: a
// microbenchmark in a few lines.
//
//   layer_speed [threads]
//
// GFLOP/s uses the policies' counts. GB/s counts weights (of the experts that random routing
// reaches), state, and activations in and out, each once. For up to a few tokens a layer is bound
// by reading its weights, beyond by arithmetic.
#include <plait/plait.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int width = 1024;

/// Ordinary numbers from a fast generator: values do not matter here.
template <class Layer>
void fill(Layer& layer) {
  std::vector<float> row;
  std::uint32_t random = 1;
  layer.for_each_tensor([&](int, char const*, plait::tensor const& t, auto& data) {
    if (t.start != plait::initial::normal) return plait::initialize_tensor(t, data, 1);
    row.resize(static_cast<std::size_t>(t.cols));
    for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
      for (float& v : row) {
        random = random * 1664525u + 1013904223u;
        v = 1.6e-11f * static_cast<float>(static_cast<std::int32_t>(random));
      }
      data.set_row(i / t.rows, i % t.rows, row.data());
    }
  });
}

/// Seconds of one call: the least of several, within a fraction of a second.
template <class Call>
double best_time(Call&& call) {
  using clock = std::chrono::steady_clock;
  call();
  double best = 1e9, spent = 0;
  for (int runs = 0; runs < 3 || (spent < 0.2 && runs < 10000); ++runs) {
    auto const start = clock::now();
    call();
    double const seconds = std::chrono::duration<double>(clock::now() - start).count();
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

template <auto Policy>
void measure(char const* name, plait::exec::cpu<>& exec) {
  plait::single_layer<width, Policy> layer;
  fill(layer);
  for (std::int64_t tokens : {1, 512}) {
    layer.reserve(exec, tokens);
    std::vector<float> x(static_cast<std::size_t>(tokens * width)), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(i * 2654435761u % 1024) / 512.0f - 1.0f;
    plait::matrix_view<float const> const input(x.data(), tokens, width);
    plait::matrix_view<float> const output(y.data(), tokens, width);

    double seconds = 0;
    if constexpr (layer.is_mixer) {
      auto sequence = layer.make();
      auto const start = sequence.snapshot();
      seconds = best_time([&] {
        sequence.restore(start);
        sequence.reserve(tokens);
        layer.forward(exec, sequence, input, output);
      });
    } else {
      seconds = best_time([&] { layer.forward(exec, input, output); });
    }

    namespace count = plait::policies;
    double const flops = double(count::flops(Policy, width, (tokens + 1) / 2)) * double(tokens);
    double const bytes =
        double(count::bytes(Policy, width, plait::f32, count::experts_reached(Policy, tokens))) +
        4 * (2.0 * double(count::state(Policy, width)) +
             double(tokens) * (double(count::kv(Policy, width)) + 2.0 * width));
    std::printf("%-10s %6lld %12.1f %12.0f %10.1f %8.1f\n", name, static_cast<long long>(tokens),
                seconds * 1e6, double(tokens) / seconds, flops / seconds / 1e9,
                bytes / seconds / 1e9);
  }
}

}  // namespace

int main(int argc, char** argv) {
  plait::exec::cpu<> exec =
      argc > 1 ? plait::exec::cpu<>(std::atoi(argv[1])) : plait::exec::cpu<>();
  std::printf("d_model %d, f32, %d thread%s\n%-10s %6s %12s %12s %10s %8s\n", width, exec.threads(),
              exec.threads() == 1 ? "" : "s", "layer", "tokens", "us/call", "tokens/s", "GFLOP/s",
              "GB/s");
  measure<plait::attention{.num_heads = 8, .num_kv_heads = 2}>("attention", exec);
  measure<plait::mamba{.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 64}>("mamba", exec);
  measure<plait::mlp{.d_ff = 3584}>("mlp", exec);
  measure<plait::moe{.d_ff = 3584, .num_experts = 16, .top_k = 2}>("moe", exec);
}
