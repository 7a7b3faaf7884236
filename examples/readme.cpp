#include <plait/plait.hpp>

#include <cstdio>
#include <vector>

inline constexpr auto mine = [] {
  auto c = plait::configs::jamba_v0_1;  // 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2
  c.d_model = 256;                      // now change a few hyperparameters
  c.vocab_size = 1000;
  c.layers.blocks = 1;
  c.sparse = {.d_ff = 512, .num_experts = 8, .top_k = 2};
  c.dense.d_ff = 512;
  return c;
}();

int main() {
  plait::model<mine> net;     // on the CPU in f32; a wrong hyperparameter does not compile
  plait::initialize(net, 1);  // or: auto net = plait::io::load<plait::model<mine>>("directory")
  plait::session text(net);   // one sequence: its tokens, its state
  std::vector<std::int32_t> const prompt{3, 1, 4};
  text.generate(prompt, {.max_tokens = 8, .sampler = plait::sampler(0.8)},
                [](std::int32_t id) { std::printf("%d ", id); });
}
