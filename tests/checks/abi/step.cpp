// The function step_LEVEL: a tiny model in the code of this file's instruction set.
#include <plait/plait.hpp>

#include "step.hpp"

#include <cstdint>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

namespace {

inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> tiny{
    .d_model = 35,
    .vocab_size = 53,
    .layers = {.layers_per_block = 4, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 9},
    .recurrent = {.d_state = 5},
    .dense = {.d_ff = 19},
    .sparse = {.d_ff = 21, .num_experts = 5, .top_k = 3}};

}  // namespace

step_result JOIN(step_, LEVEL)() {
  using model = plait::model<tiny>;
  model net;
  plait::initialize(net, 3, 0.25);
  model::exec_type cpu(2);
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  net.reserve(cpu, 9);
  sequence.reserve(9);
  std::vector<std::int32_t> const ids{1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<float> logits(9 * 53);
  plait::batch<model> batch;
  batch.add(sequence, ids, plait::rows::all);
  net.forward(cpu, batch, {logits.data(), 9, 53});

  auto counted = tiny;
  int volatile const layers = tiny.layers.layers_per_block;
  counted.layers.layers_per_block = layers;
  return {TEXT(PLAIT_ABI), PLAIT_PACKET, plait::count(counted).total_parameters, logits};
}
