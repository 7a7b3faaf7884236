// The published Mixtral configuration, in `plait::configs`.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/attention.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/moe.hpp>

namespace plait::configs {

/// Mixtral-8x7B: attention and a mixture of experts in every layer, rotary positions.
/// Shapes: 32 layers; 32 heads on 8 key-value heads, theta 1e6; 2 of 8 experts, weights
///   renormalised; d_model 4096; 46.7 B parameters
/// Source: Jiang et al., arXiv:2401.04088
/// Test: tests/unit/policy/policy_test.cpp
inline constexpr hybrid<attention, none, none, moe> mixtral_8x7b{
    .d_model = 4096,
    .vocab_size = 32000,
    .layers = {.blocks = 32, .layers_per_block = 1, .attend = 1, .moe_every = 1},
    .attention = {.num_heads = 32, .num_kv_heads = 8, .positions = positions::rotary},
    .sparse = {.d_ff = 14336,
               .num_experts = 8,
               .top_k = 2,
               .weights = router_weights::renormalised},
    .norm_eps = 1e-5f,
    .rope_theta = 1e6f};

}  // namespace plait::configs

#include <plait/core/epilogue.hpp>
