// The published Jamba models as types.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/attention.hpp>
#include <plait/layers/mamba.hpp>
#include <plait/layers/mlp.hpp>
#include <plait/layers/moe.hpp>
#include <plait/model/model.hpp>
#include <plait/policy/configs/jamba.hpp>

namespace plait::inline PLAIT_ABI {

/// jamba<l, a, m, e, n, K>, the paper's notation at v0.1's widths.
template <int l, int a, int m, int e, int n, int K, int blocks = 4, class Execution = exec::cpu<>>
using jamba = model<configs::jamba<l, a, m, e, n, K, blocks>, Execution>;

template <class Execution = exec::cpu<>>
using jamba_v0_1 = model<configs::jamba_v0_1, Execution>;
template <class Execution = exec::cpu<>>
using jamba_1_5_mini = model<configs::jamba_1_5_mini, Execution>;
template <class Execution = exec::cpu<>>
using jamba_1_5_large = model<configs::jamba_1_5_large, Execution>;
template <class Execution = exec::cpu<>>
using jamba_reasoning_3b = model<configs::jamba_reasoning_3b, Execution>;

}  // namespace plait::inline PLAIT_ABI

#include <plait/core/epilogue.hpp>
