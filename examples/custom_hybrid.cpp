// A custom hybrid: copy a published configuration, change some hyperparameters, instantiate it, and
// run a ragged batch.
#include <plait/plait.hpp>

#include <algorithm>
#include <cstdio>
#include <vector>

// The compiler refuses a wrong hyperparameter (say, num_kv_heads = 3) in one sentence.
inline constexpr auto mine = [] {
  auto c = plait::configs::jamba_v0_1;
  c.d_model = 256;
  c.vocab_size = 1000;
  c.layers.blocks = 2;
  c.layers.layers_per_block = 4;
  c.layers.recur = 3;  // a : m = 1 : 3
  c.attention = {.num_heads = 8, .num_kv_heads = 2};
  c.recurrent.dt_rank = 0;  // its default, d_model / 16
  c.dense.d_ff = c.sparse.d_ff = 704;
  c.sparse.num_experts = 8;
  return c;
}();

using my_model = plait::model<mine>;

static_assert(plait::count(mine).attention_layers == 2 && plait::count(mine).recurrent_layers == 6);

int main() {
  constexpr auto n = plait::count(mine);
  std::printf(
      "%d layers: %d attention, %d mamba, %d with experts; %.2f M parameters, %.2f M per token\n",
      n.layers, n.attention_layers, n.recurrent_layers, n.moe_layers,
      double(n.total_parameters) / 1e6, double(n.active_parameters) / 1e6);
  std::printf("a sequence has %lld bytes of state and %lld bytes per token\n\n",
              static_cast<long long>(plait::recurrent_state_bytes(mine)),
              static_cast<long long>(
                  plait::kv_cache_bytes(mine, 1, plait::value_bytes(plait::dtype::f32))));

  plait::exec::cpu<> exec;
  my_model model;
  plait::initialize(model, 1);
  model.reserve(exec, 32, 3);  // calls of up to 32 tokens of up to 3 sequences

  plait::cache_pool<my_model> pool;
  plait::batch<my_model> batch;
  std::vector<float> logits(3 * my_model::vocab_size);
  auto const run = [&](char const* what) {
    model.forward(exec, batch, {logits.data(), batch.rows_wanted(), my_model::vocab_size});
    std::printf("%-36s best ids:", what);
    for (std::int64_t r = 0; r < batch.rows_wanted(); ++r) {
      auto const row = logits.begin() + r * my_model::vocab_size;
      std::printf(" %4lld",
                  static_cast<long long>(std::max_element(row, row + my_model::vocab_size) - row));
    }
    std::printf("   pages in use: %lld\n", static_cast<long long>(pool.pages_in_use()));
    batch.clear();
  };

  // Two prompts of different lengths in one call; there is no padding.
  std::vector<std::int32_t> const first = {5, 8, 13, 21, 34},
                                  second = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31};
  auto a = pool.make(), b = pool.make();
  a.reserve(32);
  b.reserve(32);
  batch.add(a, first);
  batch.add(b, second);
  run("two prompts, 5 and 11 tokens");

  // A fork shares the original's pages and copies the state of the recurrent layers. A shared page
  // is copied when both sequences write to it.
  auto c = b.fork();
  c.reserve(8);
  std::int32_t const left = 37, right = 41;
  batch.add(a, {&left, 1});
  batch.add(b, {&left, 1});
  batch.add(c, {&right, 1});
  run("one token each, the second forked");
  std::printf("lengths: %lld, %lld and %lld\n", static_cast<long long>(a.length()),
              static_cast<long long>(b.length()), static_cast<long long>(c.length()));
}
