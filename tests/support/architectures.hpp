// Small architectures that cover all kinds of layers.
#pragma once

#include <plait/policy.hpp>

namespace test {

using plait::attention;
using plait::hybrid;
using plait::mamba;
using plait::mlp;
using plait::moe;
using plait::none;

// clang-format off
/// All kinds of layers at an odd width: two periods of attention, Mamba, Mamba; experts in every
/// second layer.
inline constexpr hybrid<attention, mamba, mlp, moe> everything{
    .d_model = 35, .vocab_size = 53,
    .layers = {.blocks = 1, .layers_per_block = 6, .attend = 1, .recur = 2, .moe_every = 2},
    .attention = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 9},
    .recurrent = {.d_state = 5, .d_conv = 4, .expand = 2},
    .dense = {.d_ff = 19},
    .sparse = {.d_ff = 21, .num_experts = 5, .top_k = 3}};

/// Attention and dense feed-forwards alone; twenty heads share one of keys and values.
inline constexpr hybrid<attention, none, mlp, none> attention_only{
    .d_model = 40, .vocab_size = 31,
    .layers = {.layers_per_block = 2, .attend = 1},
    .attention = {.num_heads = 20, .num_kv_heads = 1},
    .dense = {.d_ff = 33}};

/// Mamba alone, one sublayer per layer, no feed-forwards; no window (d_conv 1), biases, tied.
inline constexpr hybrid<none, mamba, none, none> mamba_only{
    .d_model = 33, .vocab_size = 37,
    .layers = {.layers_per_block = 3, .recur = 1},
    .recurrent = {.d_state = 17, .d_conv = 1, .expand = 1, .dt_rank = 5, .conv_bias = false,
                  .proj_bias = true},
    .tie_embeddings = true};

/// One sublayer per layer: attention and Mamba in turn, no feed-forwards.
inline constexpr hybrid<attention, mamba, none, none> mixers_only{
    .d_model = 24, .vocab_size = 29,
    .layers = {.layers_per_block = 4, .attend = 1, .recur = 1},
    .attention = {.num_heads = 3, .num_kv_heads = 3},
    .recurrent = {.d_state = 8, .d_conv = 2, .proj_bias = true}};

/// One of 3 experts per token, in every layer; no biases; a long window; tied.
inline constexpr hybrid<attention, mamba, none, moe> one_expert{
    .d_model = 16, .vocab_size = 64,
    .layers = {.layers_per_block = 3, .attend = 1, .recur = 2, .moe_every = 1, .attend_offset = 0},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {.d_state = 16, .d_conv = 9, .conv_bias = false},
    .sparse = {.d_ff = 17, .num_experts = 3, .top_k = 1},
    .tie_embeddings = true};

/// Mixtral's layers: rotary positions, renormalised weights; nothing recurrent.
inline constexpr hybrid<attention, none, none, moe> rotary{
    .d_model = 36, .vocab_size = 41,
    .layers = {.blocks = 3, .layers_per_block = 1, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 6, .num_kv_heads = 2, .head_dim = 10,
                  .positions = plait::positions::rotary},
    .sparse = {.d_ff = 21, .num_experts = 5, .top_k = 2,
               .weights = plait::router_weights::renormalised},
    .norm_eps = 1e-5f,
    .rope_theta = 12345.0f};

/// Layers without a mixer: feed-forwards between attention.
inline constexpr hybrid<attention, none, mlp, none> sparse_mixers{
    .d_model = 17, .vocab_size = 19,
    .layers = {.layers_per_block = 4, .attend = 1, .recur = 1},
    .attention = {.num_heads = 1, .num_kv_heads = 1},
    .dense = {.d_ff = 40}};
// clang-format on

}  // namespace test
