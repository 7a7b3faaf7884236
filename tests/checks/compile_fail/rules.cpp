// Every rule of an architecture, broken one at a time, and every hyperparameter at zero. The macro
// CASE selects. "// N: sentence" is what the compiler prints in case N; several lines with one
// number are several sentences of one compilation. "// N: compiles": no rule is broken.
#include <plait/plait.hpp>

// No hyperparameter is zero here. A new one breaks the lists of names below: its zero is a new
// case.
inline constexpr auto broken = [] {
  plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> c{.d_model = 64,
                                                                          .vocab_size = 97,
                                                                          .norm_eps = 1e-6f,
                                                                          .rope_theta = 1e4f,
                                                                          .tie_embeddings = true};
  c.layers = {.blocks = 2,
              .layers_per_block = 8,
              .attend = 2,
              .recur = 2,
              .moe_every = 2,
              .attend_offset = -1,
              .moe_offset = -1};
  c.attention = {
      .num_heads = 4, .num_kv_heads = 2, .head_dim = 10, .positions = plait::positions::rotary};
  c.recurrent = {.d_state = 5,
                 .d_conv = 4,
                 .expand = 2,
                 .dt_rank = 3,
                 .conv_bias = true,
                 .proj_bias = true,
                 .inner_norms = true};
  c.dense = {.d_ff = 24};
  c.sparse = {
      .d_ff = 40, .num_experts = 4, .top_k = 2, .weights = plait::router_weights::renormalised};
  auto const [d_model, vocab_size, layers, attention, recurrent, dense, sparse, norm, norm_eps,
              rope_theta, tie_embeddings] = c;
  auto const [blocks, layers_per_block, attend, recur, moe_every, attend_offset, moe_offset] =
      layers;
  auto const [num_heads, num_kv_heads, head_dim, positions] = attention;
  auto const [d_state, d_conv, expand, dt_rank, conv_bias, proj_bias, inner_norms] = recurrent;
  auto const [dense_d_ff] = dense;
  auto const [sparse_d_ff, num_experts, top_k, gate] = sparse;
  static_assert(std::is_empty_v<decltype(norm)>);
  // 0: compiles
  if (CASE == 1) c.d_model = 0;                  // 1: plait: a model needs d_model
  if (CASE == 2) c.vocab_size = 0;               // 2: plait: a model needs vocab_size
  if (CASE == 3) c.norm_eps = 0;                 // 3: plait: norm_eps must be positive
  if (CASE == 4) c.layers.blocks = 0;            // 4: plait: a model needs blocks
  if (CASE == 5) c.layers.layers_per_block = 0;  // 5: plait: a model needs layers_per_block
  // 6: plait: attend + recur (a + m) must be positive
  if (CASE == 6) c.layers.attend = c.layers.recur = 0;
  if (CASE == 7) c.layers.moe_every = -1;  // 7: plait: moe_every (e) must not be negative
  if (CASE == 8) c.layers.recur = 3;       // 8: plait: a + m must divide l
  if (CASE == 9) c.layers.moe_every = 3;   // 9: plait: e must divide l
  // 10: plait: the attention offset plus a must not exceed a + m
  if (CASE == 10) c.layers.attend_offset = 8;
  if (CASE == 11) c.layers.moe_offset = 2;       // 11: plait: the MoE offset must be below e
  if (CASE == 12) c.attention.num_heads = 0;     // 12: plait: attention needs num_heads
  if (CASE == 13) c.attention.num_kv_heads = 0;  // 13: plait: attention needs num_kv_heads
  if (CASE == 14) c.attention.num_kv_heads = 3;  // 14: plait: num_kv_heads must divide num_heads
  // 15: plait: num_heads must divide d_model, unless head_dim is given
  if (CASE == 15) c.attention = {.num_heads = 5, .num_kv_heads = 5};
  if (CASE == 16) c.attention.head_dim = -1;  // 16: plait: head_dim must not be negative
  if (CASE == 17) c.rope_theta = 0;  // 17: plait: rotary positions need rope_theta, their base
  if (CASE == 18) c.recurrent.d_state = 0;   // 18: plait: mamba needs d_state
  if (CASE == 19) c.recurrent.d_conv = 0;    // 19: plait: mamba needs d_conv
  if (CASE == 20) c.recurrent.expand = 0;    // 20: plait: mamba needs expand
  if (CASE == 21) c.recurrent.dt_rank = -1;  // 21: plait: dt_rank must not be negative
  // 22: plait: mamba without inner norms is not offered yet
  if (CASE == 22) c.recurrent.inner_norms = false;
  if (CASE == 23) c.dense.d_ff = 0;          // 23: plait: mlp needs d_ff
  if (CASE == 24) c.sparse.d_ff = 0;         // 24: plait: moe needs d_ff
  if (CASE == 25) c.sparse.num_experts = 0;  // 25: plait: moe needs num_experts
  // 26: plait: moe needs num_experts, more than one
  if (CASE == 26) c.sparse.num_experts = c.sparse.top_k = 1;
  if (CASE == 27) c.sparse.top_k = 0;  // 27: plait: moe needs top_k
  // 28: plait: top_k, the K experts per token, cannot exceed num_experts
  if (CASE == 28) c.sparse.top_k = 5;
  if (CASE == 29) c.attention.head_dim = 15;  // 29: plait: rotary positions need an even head_dim
  // 30: plait: top_k, the K experts per token, cannot exceed num_experts
  // 30: plait: attention needs num_kv_heads
  if (CASE == 30) {
    c.sparse.top_k = 17;
    c.attention.num_kv_heads = 0;
  }
  // 31: plait: a + m must divide l
  // 31: plait: mamba needs d_state
  if (CASE == 31) {
    c.layers.recur = 3;
    c.recurrent.d_state = 0;
  }
  // 32: plait: a model needs d_model
  // 32: plait: a model needs layers_per_block
  if (CASE == 32) c = {};
  // 33: plait: moe needs d_ff
  // 33: plait: moe needs num_experts
  // 33: plait: moe needs top_k
  if (CASE == 33) c.sparse = {};
  // 34: plait: a model needs d_model
  // 34: plait: a model needs vocab_size
  if (CASE == 34) c.d_model = c.vocab_size = 0;
  // 35: plait: a model needs layers_per_block
  // 35: plait: top_k, the K experts per token, cannot exceed num_experts
  if (CASE == 35) {
    c.layers.layers_per_block = 0;
    c.sparse.top_k = 17;
  }
  if (CASE == 36) c.layers.attend = 0;         // 36: compiles
  if (CASE == 37) c.layers.recur = 0;          // 37: compiles
  if (CASE == 38) c.layers.moe_every = 0;      // 38: compiles
  if (CASE == 39) c.layers.attend_offset = 0;  // 39: compiles
  if (CASE == 40) c.layers.moe_offset = 0;     // 40: compiles
  if (CASE == 41) c.attention.head_dim = 0;    // 41: compiles
  if (CASE == 42) c.attention.positions = {};  // 42: compiles
  // 43: compiles
  if (CASE == 43) {
    c.attention.positions = {};
    c.rope_theta = 0;
  }
  if (CASE == 44) c.recurrent.dt_rank = 0;        // 44: compiles
  if (CASE == 45) c.recurrent.conv_bias = false;  // 45: compiles
  if (CASE == 46) c.recurrent.proj_bias = false;  // 46: compiles
  if (CASE == 47) c.sparse.weights = {};          // 47: compiles
  if (CASE == 48) c.tie_embeddings = false;       // 48: compiles
  // 49: plait: attention needs num_heads
  // 49: plait: attention needs num_kv_heads
  if (CASE == 49) c.attention = {};
  // 50: plait: a model needs layers_per_block
  // 50: plait: attend + recur (a + m) must be positive
  if (CASE == 50) c.layers = {};
  return c;
}();

template class plait::model<broken>;
int main() {}
