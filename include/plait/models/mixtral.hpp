// Mixtral-8x7B as a type.
// Errors: those of model/model.hpp
// Source: Jiang et al., arXiv:2401.04088
// Test: tests/models/jamba_test.cpp
#pragma once

#include <plait/layers/attention.hpp>
#include <plait/layers/moe.hpp>
#include <plait/model/model.hpp>
#include <plait/policy/configs/mixtral.hpp>

namespace plait::inline PLAIT_ABI {

/// Mixtral-8x7B on an execution policy.
template <class Execution = exec::cpu<>>
using mixtral_8x7b = model<configs::mixtral_8x7b, Execution>;

}  // namespace plait::inline PLAIT_ABI
