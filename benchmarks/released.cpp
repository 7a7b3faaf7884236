// The released Jamba v0.1, all 32 layers in int8, on a machine with 24 GB: its four blocks share
// the random weights of the first, 13.6 GB. Every layer is computed, and reads its weights from
// memory, since a block is far larger than any cache; only the number of weights in memory differs
// from the released model's. Prints prefill, decode, and memory beside the counted bytes.
//
//   bench_released [threads]
#include <plait/plait.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr auto precision = plait::with_compute(plait::int8, plait::dtype::int8);
using model = plait::jamba_v0_1<plait::exec::cpu<precision>>;
constexpr int layers_per_block = plait::configs::jamba_v0_1.layers.layers_per_block;
constexpr int layers = plait::configs::jamba_v0_1.num_layers();

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Fills a tensor by several threads with uniform numbers of the published deviation, each row from
/// a stream of its own.
template <class Tensor>
void fill(plait::tensor const& t, Tensor& data, std::uint64_t stream, int threads) {
  if (t.start != plait::initial::normal) return plait::initialize_tensor(t, data, stream);
  std::vector<std::jthread> team;
  std::int64_t const rows = t.copies * t.rows;
  for (int thread = 0; thread < threads; ++thread)
    team.emplace_back([&, thread] {
      std::vector<float> row(static_cast<std::size_t>(t.cols));
      for (std::int64_t i = rows * thread / threads; i < rows * (thread + 1) / threads; ++i) {
        auto state = static_cast<std::uint32_t>(plait::detail::mix(stream, std::uint64_t(i)));
        for (float& v : row)
          v = static_cast<float>(
                  static_cast<std::int32_t>(state = state * 1664525u + 1013904223u)) *
              (0.0346f / 2147483648.0f);
        data.set_row(i / t.rows, i % t.rows, row.data());
      }
    });
}

double resident_gib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024 / 1024;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  model::exec_type exec =
      argc > 1 ? model::exec_type(std::max(1, std::atoi(argv[1]))) : model::exec_type();
  double const start = now();
  model net;  // 54 GB of pages that are not in memory until they are written
  net.for_each_tensor([&](int layer, std::string_view part, plait::tensor const& t, auto& data) {
    if (layer < layers_per_block)
      fill(t, data,
           plait::detail::mix(plait::detail::mix(std::uint64_t(layer + 2), part),
                              std::string_view(t.name)),
           exec.threads());
  });
  for (int i = layers_per_block; i < layers; ++i) plait::share_layer(net, i % layers_per_block, i);
  std::int64_t const all = plait::weight_bytes(model::config, precision);
  std::printf(
      "Jamba v0.1, %d layers, int8 weights and arithmetic, %d threads, packets of %d floats\n",
      layers, exec.threads(), PLAIT_PACKET);
  std::printf(
      "weights: %.1f GB counted for 32 layers; drawn and packed for 8 in %.0f s, resident %.2f "
      "GiB\n",
      double(all) * 1e-9, now() - start, resident_gib());

  std::int64_t const prompt = 512;
  net.reserve(exec, prompt, 1);
  plait::cache_pool<model> pool;
  std::vector<float> logits(static_cast<std::size_t>(model::vocab_size));
  auto const forward = [&](plait::cache<model>& sequence, std::int64_t tokens) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<std::int32_t>((sequence.length() + std::int64_t(i)) * 7919 %
                                         model::vocab_size);
    sequence.reserve(tokens);
    plait::batch<model> batch;
    batch.add(sequence, ids);
    double const begun = now();
    net.forward(exec, batch, {logits.data(), 1, model::vocab_size});
    return now() - begun;
  };
  auto sequence = pool.make();
  double const prefill = forward(sequence, prompt);
  std::printf("prefill of %lld tokens: %.2f s, %.1f tokens/s, %.0f GFLOP/s\n",
              static_cast<long long>(prompt), prefill, double(prompt) / prefill,
              double(plait::prefill_cost(model::config, precision, prompt).flops) * double(prompt) /
                  prefill * 1e-9);
  std::vector<double> steps;
  for (int i = 0; i < 8; ++i) steps.push_back(forward(sequence, 1));
  std::sort(steps.begin(), steps.end());
  double const step = steps[steps.size() / 2];
  std::printf(
      "decode at %lld tokens: %.3f s per token, median of %zu (%.3f to %.3f); %.2f GB per token, "
      "%.1f "
      "GB/s\n",
      static_cast<long long>(prompt), step, steps.size(), steps.front(), steps.back(),
      double(plait::decode_cost(model::config, precision, prompt).bytes) * 1e-9,
      double(plait::decode_cost(model::config, precision, prompt).bytes) / step * 1e-9);
  std::printf(
      "cache: %.1f MB of pages (%.1f counted for %lld tokens), %.1f MB of recurrent state\n",
      double(pool.page_bytes()) * 1e-6,
      double(plait::kv_cache_bytes(model::config, sequence.length(),
                                   plait::value_bytes(precision.kv))) *
          1e-6,
      static_cast<long long>(sequence.length()),
      double(plait::recurrent_state_bytes(model::config)) * 1e-6);
  std::int64_t const block =
      (all - 2 * plait::matrix_bytes(precision.weights, model::vocab_size, model::d_model)) / 4 +
      2 * plait::matrix_bytes(precision.weights, model::vocab_size, model::d_model);
  std::printf("resident at most: %.2f GiB; counted for one block, embedding and head: %.2f GiB\n",
              resident_gib(), double(block) / 1073741824.0);
}
