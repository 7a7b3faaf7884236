// The published Jamba models as types: Jamba v0.1, its successors, and the paper's notation.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/attention.hpp>
#include <plait/layers/mamba.hpp>
#include <plait/layers/mlp.hpp>
#include <plait/layers/moe.hpp>
#include <plait/model/model.hpp>
#include <plait/models/jamba/config.hpp>

PLAIT_NAMESPACE_BEGIN

/// `jamba<l, a, m, e, n, K>`: the paper's notation, with the widths of v0.1.
///
/// ```cpp
/// static_assert(std::is_same_v<plait::jamba<8, 1, 7, 2, 16, 2>, plait::jamba_v0_1<>>);
/// // two blocks, one of eight experts per token
/// using my_jamba = plait::jamba<8, 1, 7, 2, 8, 1, 2>;
/// static_assert(my_jamba::layout.page_bytes == 4 * 2 * 2 * 8 * 128 * plait::page_tokens);
/// ```
///
/// Errors: those of model/model.hpp
/// Source: Lieber et al., arXiv:2403.19887; Jamba Team, arXiv:2408.12570
/// Test: tests/unit/models/jamba/jamba_test.cpp
template <int l, int a, int m, int e, int n, int K, int blocks = 4, class Execution = exec::cpu<>>
using jamba = model<configs::jamba<l, a, m, e, n, K, blocks>, Execution>;

/// Jamba v0.1 on an execution policy.
template <class Execution = exec::cpu<>>
using jamba_v0_1 = model<configs::jamba_v0_1, Execution>;
/// Jamba 1.5 Mini on an execution policy.
template <class Execution = exec::cpu<>>
using jamba_1_5_mini = model<configs::jamba_1_5_mini, Execution>;
/// Jamba 1.5 Large on an execution policy.
template <class Execution = exec::cpu<>>
using jamba_1_5_large = model<configs::jamba_1_5_large, Execution>;
/// Jamba Reasoning 3B on an execution policy.
template <class Execution = exec::cpu<>>
using jamba_reasoning_3b = model<configs::jamba_reasoning_3b, Execution>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
