// A tiny model and its logits of three tokens, for both files.
#pragma once

#include <plait/plait.hpp>

#include <cstdint>
#include <vector>

inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> tiny{
    .d_model = 20,
    .vocab_size = 50,
    .layers = {.layers_per_block = 2, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {.d_state = 4},
    .dense = {.d_ff = 24},
    .sparse = {.d_ff = 24, .num_experts = 3, .top_k = 2}};

inline std::vector<float> logits() {
  using model = plait::model<tiny>;
  model net;
  plait::initialize(net, 1, 0.2);
  model::exec_type cpu;
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  net.reserve(cpu, 3);
  sequence.reserve(3);
  std::vector<std::int32_t> const ids{3, 1, 4};
  std::vector<float> out(3 * 50);
  plait::batch<model> batch;
  batch.add(sequence, ids, plait::rows::all);
  net.forward(cpu, batch, {out.data(), 3, 50});
  return out;
}

std::vector<float> other_logits();
void other_failure();  ///< throws plait::error
