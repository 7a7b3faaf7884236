// The shapes of the benchmarks.
#pragma once

#include <plait/policy.hpp>

namespace bench {

/// A hybrid of 932 M parameters, a quarter of Jamba v0.1's width.
inline constexpr int d_model = 1024;
inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> config_1b{
    .d_model = d_model,
    .vocab_size = 65536,
    .layers = {.blocks = 1, .layers_per_block = 8, .attend = 1, .recur = 7, .moe_every = 2},
    .attention = {.num_heads = 16, .num_kv_heads = 4},
    .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 64},
    .dense = {.d_ff = 3584},
    .sparse = {.d_ff = 3584, .num_experts = 16, .top_k = 2}};
static_assert(plait::count(config_1b).total_parameters == 932'269'728);

/// The same with half the widths and half the experts.
inline constexpr auto config_128m = [] {
  auto c = config_1b;
  c.d_model = 512;
  c.vocab_size = 16384;
  c.attention = {.num_heads = 8, .num_kv_heads = 2};
  c.recurrent.dt_rank = 32;
  c.dense.d_ff = 1792;
  c.sparse.d_ff = 1792;
  c.sparse.num_experts = 8;
  return c;
}();

}  // namespace bench
