#include <plait/plait.hpp>

#include <cstdio>
#include <vector>

inline constexpr auto mine = [] {
  auto c = plait::configs::jamba_v0_1;  // 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2; now change a few knobs
  c.d_model = 256, c.vocab_size = 1000, c.layers.blocks = 1, c.sparse.num_experts = 8, c.sparse.d_ff = c.dense.d_ff = 512;
  return c;
}();
using model = plait::model<mine>;  // on the CPU in f32; a wrong knob is a sentence here

int main() {
  model net;
  plait::initialize(net, 1);  // or: auto net = plait::io::load<model>("directory with config.json and safetensors")
  plait::exec::cpu<> cpu;
  plait::cache_pool<model> pool;
  plait::cache<model> sequence = pool.make();
  net.reserve(cpu, 3), sequence.reserve(3);  // room for 3 tokens: forward itself allocates nothing
  std::vector<std::int32_t> ids{3, 1, 4};
  std::vector<float> logits(1000);
  plait::batch<model> batch;
  batch.add(sequence, ids);  // any number of sequences, each with any number of tokens, on top of any state
  net.forward(cpu, batch, {logits.data(), 1, 1000});
  std::printf("%lld parameters; the next token is %d\n", static_cast<long long>(plait::count(mine).total_parameters),
              plait::sample_greedy(logits));
}
