#include <plait/plait.hpp>

#include <cstdio>
#include <vector>

// The released Jamba with a few changed knobs. A config is a value; a wrong knob is a sentence at compile time.
inline constexpr auto mine = [] {
  auto c = plait::configs::jamba_v0_1;  // 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2
  c.d_model = 256, c.vocab_size = 1000, c.layers.blocks = 1, c.recurrent.dt_rank = 0;
  c.attention = {.num_heads = 8, .num_kv_heads = 2};
  c.dense = {.d_ff = 512}, c.sparse = {.d_ff = 512, .num_experts = 8, .top_k = 2};
  return c;
}();
static_assert(plait::count(plait::configs::jamba_v0_1).total_parameters == 51'570'323'328);

int main() {
  using model = plait::model<mine>;  // on the CPU in f32
  model net;
  plait::initialize(net, 1);  // or plait::io::load<model>("directory with config.json and safetensors")
  plait::exec::cpu<> cpu;
  net.reserve(cpu, 3);  // workspace for calls of up to 3 tokens: forward allocates nothing

  plait::cache_pool<model> pool;
  plait::cache<model> sequence = pool.make();
  sequence.reserve(3);
  std::vector<std::int32_t> ids{3, 1, 4};
  std::vector<float> logits(1000);
  plait::batch<model> batch;
  batch.add(sequence, ids);  // any number of sequences, each with any number of tokens, on top of any state
  net.forward(cpu, batch, {logits.data(), 1, 1000});
  std::printf("%lld parameters; the next token is %d\n", static_cast<long long>(plait::count(mine).total_parameters),
              plait::sample_greedy(logits));
}
