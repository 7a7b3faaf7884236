// The published Jamba configurations, in `plait::configs`.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/attention.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>

namespace plait::configs {

namespace detail {
// Functions, because lambdas in a variable template crash nvcc 13.0.
template <int n, int K>
constexpr auto jamba_experts() {
  if constexpr (n == 1)
    return none{};
  else
    return moe{.d_ff = 14336, .num_experts = n, .top_k = K};
}
template <class Sparse>
constexpr hybrid<attention, mamba, mlp, Sparse> jamba_with(interleave const& layers,
                                                           Sparse const& sparse) {
  return {.d_model = 4096,
          .vocab_size = 65536,
          .layers = layers,
          .attention = {.num_heads = 32, .num_kv_heads = 8},
          .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2, .dt_rank = 256},
          .dense = {.d_ff = 14336},
          .sparse = sparse};
}
}  // namespace detail

/// `jamba<l, a, m, e, n, K>`: the paper's notation, with the widths of v0.1. With n = 1 there is no
/// router and every feed-forward is dense.
/// Shapes: d_model 4096, d_ff 14336, 32 heads on 8 key-value heads; with n = 1 the sparse slot is
///   `none`
/// Errors: none; policy/check.hpp and the layers have the rules
/// Source: Lieber et al., arXiv:2403.19887; Jamba Team, arXiv:2408.12570
/// Test: tests/unit/policy/policy_test.cpp, tests/unit/models/jamba/checkpoint_config_test.cpp
template <int l, int a, int m, int e, int n, int K, int blocks = 4>
inline constexpr auto jamba = detail::jamba_with(interleave{.blocks = blocks,
                                                            .layers_per_block = l,
                                                            .attend = a,
                                                            .recur = m,
                                                            .moe_every = n == 1 ? 0 : e},
                                                 detail::jamba_experts<n, K>());

/// Jamba v0.1 (Lieber et al., arXiv:2403.19887): 4 blocks, l = 8, a:m = 1:7, e = 2, n = 16, K = 2;
/// 51.6 B parameters, 12.1 B active.
inline constexpr auto jamba_v0_1 = jamba<8, 1, 7, 2, 16, 2>;

/// Jamba-1.5-Mini (arXiv:2408.12570) and Jamba2-Mini have v0.1's shape.
inline constexpr auto jamba_1_5_mini = jamba_v0_1;

/// Jamba-1.5-Large: 9 blocks, d_model 8192. Widths are the paper's; d_ff gives the published 398 B
/// parameters and 94 B active.
inline constexpr auto jamba_1_5_large = [] {
  auto c = jamba<8, 1, 7, 2, 16, 2, 9>;
  c.d_model = 8192;
  c.attention.num_heads = 64;
  c.recurrent.dt_rank = 512;
  c.dense.d_ff = c.sparse.d_ff = 24576;
  return c;
}();

/// Jamba-Reasoning-3B: 26 Mamba and 2 attention layers, dense, tied.
inline constexpr auto jamba_reasoning_3b = [] {
  auto c = jamba<14, 1, 13, 2, 1, 1, 2>;
  c.d_model = 2560;
  c.attention = {.num_heads = 20, .num_kv_heads = 1};
  c.recurrent.dt_rank = 160;
  c.dense.d_ff = 8192;
  c.tie_embeddings = true;
  return c;
}();

}  // namespace plait::configs

#include <plait/core/epilogue.hpp>
