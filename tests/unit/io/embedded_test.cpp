// The embedded checkpoint: its compression of held-back text, its logits and its greedy
// continuation, as transformers has them.
#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using model = checkpoint_architecture::model<>;
std::string const directory = PLAIT_GOLDEN_CHECKPOINT;

std::vector<float> logits_of(model const& net, plait::exec::cpu<>& exec, plait::cache<model>& cache,
                             std::span<std::int32_t const> ids) {
  plait::batch<model> batch;
  cache.reserve(std::int64_t(ids.size()));
  batch.add(cache, ids, plait::rows::all);
  std::vector<float> out(ids.size() * 256);
  net.forward(exec, batch, {out.data(), std::int64_t(ids.size()), 256});
  return out;
}

}  // namespace

TEST_CASE("bits per byte on the held-back text equal transformers'") {
  auto const net = plait::io::load<model>(directory);
  plait::io::mapped_file const text(directory + "/heldback.txt");
  REQUIRE(text.text().size() == 65536);
  plait::exec::cpu<> exec;
  net->reserve(exec, 1024);
  plait::cache_pool<model> pool;
  double bits = 0;
  std::int64_t scored = 0;
  for (std::size_t window = 0; window < 65536; window += 1024) {
    std::vector<std::int32_t> ids;
    for (char c : text.text().substr(window, 1024)) ids.push_back(static_cast<unsigned char>(c));
    auto cache = pool.make();
    std::vector<float> const logits = logits_of(*net, exec, cache, ids);
    for (std::size_t t = 0; t + 1 < ids.size(); ++t, ++scored) {
      double total = 0;
      for (std::size_t v = 0; v < 256; ++v) total += std::exp(double{logits[t * 256 + v]});
      bits += std::log2(total) - double{logits[t * 256 + std::size_t(ids[t + 1])]} / std::log(2.0);
    }
  }
  CHECK(scored == 65472);
  MESSAGE("bits per byte: " << bits / double(scored) << " (bzip2 -9: 2.3125)");
  CHECK(std::fabs(bits / double(scored) - 1.59701) < 1e-4);
}

TEST_CASE("logits and greedy continuation equal transformers'") {
  auto const net = plait::io::load<model>(directory);
  plait::io::safetensors const golden(directory + "/golden.safetensors");
  auto const ids = plait::io::read<std::int32_t>(golden.at("input_ids"));
  auto const greedy = plait::io::read<std::int32_t>(golden.at("greedy_ids"));
  auto const expected = plait::io::read<float>(golden.at("logits"));
  plait::exec::cpu<> exec;
  net->reserve(exec, 512);
  plait::cache_pool<model> pool;
  auto cache = pool.make();
  std::vector<float> logits = logits_of(*net, exec, cache, ids);
  double max_difference = 0;
  double max_expected = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    max_difference = std::max(max_difference, std::fabs(double{logits[i]} - double{expected[i]}));
    max_expected = std::max(max_expected, std::fabs(double{expected[i]}));
  }
  // Two f32 computations, each within a few 1e-6 of the exact result.
  CHECK(max_difference / max_expected < 2e-5);

  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < greedy.size(); ++i) {
    tokens.push_back(plait::sample_greedy(std::span(logits).last(256)));
    logits = logits_of(*net, exec, cache, {&tokens.back(), 1});
  }
  CHECK(tokens == greedy);
}
