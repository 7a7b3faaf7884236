// The architectures of bench_sweep: one width, one hyperparameter at a time.
#pragma once

#include "shapes.hpp"

#include <plait/policy.hpp>

namespace bench {

/// 8 layers of d_model 512 with a vocabulary of 16384: a : m attention to Mamba layers, a mixture
/// of experts every e layers (0: none), n experts of which a token chooses K.
template <int a, int m, int e, int n, int K>
inline constexpr auto swept = [] {
  auto c = config_128m;
  c.layers = {.blocks = 1, .layers_per_block = 8, .attend = a, .recur = m, .moe_every = e};
  c.sparse.num_experts = n;
  c.sparse.top_k = K;
  return c;
}();

/// Registers the benchmarks of a part of the architectures (sweep_part.cpp).
template <int part>
void register_part();

}  // namespace bench
