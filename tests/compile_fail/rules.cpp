// Every rule of an architecture, broken one at a time: CASE selects. A line "// N: sentence" says what case N has to print; several
// lines with one number are several sentences, all of which must appear at once.
#include <plait/plait.hpp>

inline constexpr auto broken = [] {
  auto c = plait::configs::jamba_v0_1;
  c.d_model = 64, c.vocab_size = 97, c.attention = {.num_heads = 4, .num_kv_heads = 2};
  c.recurrent.dt_rank = 0, c.dense.d_ff = 24, c.sparse = {.d_ff = 40, .num_experts = 4, .top_k = 2};
#if CASE == 0
  // nothing broken: compiles
#elif CASE == 1
  c.d_model = 0;  // 1: plait: a model needs d_model
#elif CASE == 2
  c.vocab_size = 0;  // 2: plait: a model needs vocab_size
#elif CASE == 3
  c.norm_eps = 0;  // 3: plait: norm_eps must be positive
#elif CASE == 4
  c.layers.blocks = 0;  // 4: plait: a model needs blocks
#elif CASE == 5
  c.layers.layers_per_block = 0;  // 5: plait: a model needs layers_per_block
#elif CASE == 6
  c.layers.attend = c.layers.recur = 0;  // 6: plait: attend + recur (a + m) must be positive
#elif CASE == 7
  c.layers.moe_every = -1;  // 7: plait: moe_every (e) must not be negative
#elif CASE == 8
  c.layers.recur = 6;  // 8: plait: a + m must divide l
#elif CASE == 9
  c.layers.moe_every = 3;  // 9: plait: e must divide l
#elif CASE == 10
  c.layers.attend_offset = 8;  // 10: plait: the attention offset plus a must not exceed a + m
#elif CASE == 11
  c.layers.moe_offset = 2;  // 11: plait: the MoE offset must be below e
#elif CASE == 12
  c.attention.num_heads = 0;  // 12: plait: attention needs num_heads
#elif CASE == 13
  c.attention.num_kv_heads = 0;  // 13: plait: attention needs num_kv_heads
#elif CASE == 14
  c.attention.num_kv_heads = 3;  // 14: plait: num_kv_heads must divide num_heads
#elif CASE == 15
  c.attention = {.num_heads = 5, .num_kv_heads = 5};  // 15: plait: num_heads must divide d_model, unless head_dim is given
#elif CASE == 16
  c.attention.head_dim = -1;  // 16: plait: head_dim must not be negative
#elif CASE == 17
  c.attention.positions = plait::positions::rotary;  // 17: plait: rotary positions need rope_theta, their base
#elif CASE == 18
  c.recurrent.d_state = 0;  // 18: plait: mamba needs d_state
#elif CASE == 19
  c.recurrent.d_conv = 0;  // 19: plait: mamba needs d_conv
#elif CASE == 20
  c.recurrent.expand = 0;  // 20: plait: mamba needs expand
#elif CASE == 21
  c.recurrent.dt_rank = -1;  // 21: plait: dt_rank must not be negative
#elif CASE == 22
  c.recurrent.inner_norms = false;  // 22: plait: mamba without inner norms is not offered yet
#elif CASE == 23
  c.dense.d_ff = 0;  // 23: plait: mlp needs d_ff
#elif CASE == 24
  c.sparse.d_ff = 0;  // 24: plait: moe needs d_ff
#elif CASE == 25
  c.sparse.num_experts = 0;  // 25: plait: moe needs num_experts
#elif CASE == 26
  c.sparse.num_experts = c.sparse.top_k = 1;  // 26: plait: moe needs num_experts, more than one
#elif CASE == 27
  c.sparse.top_k = 0;  // 27: plait: moe needs top_k
#elif CASE == 28
  c.sparse.top_k = 5;  // 28: plait: top_k, the K experts per token, cannot exceed num_experts
#elif CASE == 29
  c.attention.head_dim = 15, c.attention.positions = plait::positions::rotary, c.rope_theta = 1;  // 29: plait: rotary positions need an even head_dim
#elif CASE == 30
  c.sparse.top_k = 17;  // 30: plait: top_k, the K experts per token, cannot exceed num_experts
  c.attention.num_kv_heads = 0;  // 30: plait: attention needs num_kv_heads
#elif CASE == 31
  c.layers.recur = 6, c.recurrent.d_state = 0;  // 31: plait: a + m must divide l
  // 31: plait: mamba needs d_state
#elif CASE == 32
  c = {};  // 32: plait: a model needs d_model
  // 32: plait: a model needs layers_per_block
#elif CASE == 33
  c.sparse = {};  // 33: plait: moe needs d_ff
  // 33: plait: moe needs num_experts
  // 33: plait: moe needs top_k
#elif CASE == 34
  c.d_model = c.vocab_size = 0;  // 34: plait: a model needs d_model
  // 34: plait: a model needs vocab_size
#elif CASE == 35
  c.layers.layers_per_block = 0, c.sparse.top_k = 17;  // 35: plait: a model needs layers_per_block
  // 35: plait: top_k, the K experts per token, cannot exceed num_experts
#endif
  return c;
}();

template class plait::model<broken>;
int main() {}
