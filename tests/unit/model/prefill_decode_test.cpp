// Prefill and decode are one function, but prefill is not a loop over decode steps: a prompt of 512
// tokens runs at a multiple of decode's tokens per second. The factor is printed and not compared:
// it depends on the machine's load.
#include <plait/plait.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
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

double seconds(model const& net, plait::exec::cpu<>& exec, plait::cache<model>& cache,
               std::int64_t tokens) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 1024);
  std::vector<float> logits(1024);
  plait::batch<model> batch;
  cache.reserve(tokens);
  batch.add(cache, ids);
  auto const start = std::chrono::steady_clock::now();
  net.forward(exec, batch, {logits.data(), 1, 1024});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("a prompt runs at a multiple of decode's tokens per second") {
  model net;
  plait::initialize(net, 1);
  plait::exec::cpu<> exec(1);
  net.reserve(exec, 512);
  plait::cache_pool<model> pool;
  double prefill = 1e9, decode = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat) {
    auto cache = pool.make();
    prefill = std::min(prefill, seconds(net, exec, cache, 512) / 512);
    for (int i = 0; i < 20; ++i) decode = std::min(decode, seconds(net, exec, cache, 1));
  }
  MESSAGE("prefill of 512: " << 1 / prefill << " tokens/s, decode: " << 1 / decode
                             << " tokens/s, ratio " << decode / prefill
                             << " (at least 5 is expected)");
  CHECK(prefill > 0);
  WARN(decode / prefill >= 5);
}
