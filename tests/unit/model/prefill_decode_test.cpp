// Prefill and decode are one function, but prefill is not a loop over decode steps: a prompt takes
// about a fifteenth of decode's CPU time per token. The test allows two thirds, which a
// loop over tokens exceeds under any load.
#include <plait/plait.hpp>

#include <doctest/doctest.h>

#include <ctime>
#include <vector>

namespace {

inline constexpr auto medium = [] {
  auto c = plait::configs::jamba<8, 1, 7, 2, 8, 2, 1>;
  c.d_model = 512;
  c.vocab_size = 1024;
  c.recurrent.dt_rank = 32;
  c.attention = {.num_heads = 8, .num_kv_heads = 2};
  c.dense.d_ff = c.sparse.d_ff = 1792;
  return c;
}();
using model = plait::model<medium>;

/// CPU time of one call with `tokens` new tokens.
double seconds(model const& net, plait::exec::cpu<>& exec, plait::cache<model>& cache,
               std::int64_t tokens) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 1024);
  std::vector<float> logits(1024);
  plait::batch<model> batch;
  cache.reserve(tokens);
  batch.add(cache, ids);
  std::clock_t const start = std::clock();
  net.forward(exec, batch, {logits.data(), 1, 1024});
  return double(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("prefill: a prompt takes less CPU time per token than decode") {
  model net;
  plait::initialize(net, 1);
  plait::exec::cpu<> exec(1);
  net.reserve(exec, 256);
  plait::cache_pool<model> pool;
  auto cache = pool.make();
  double const prefill = seconds(net, exec, cache, 256) / 256;
  double decode = 0;
  for (int i = 0; i < 16; ++i) decode += seconds(net, exec, cache, 1) / 16;
  MESSAGE("prefill of 256: " << 1 / prefill << " tokens/s, decode: " << 1 / decode << " tokens/s");
  CHECK(decode / prefill > 1.5);
}
