// The published Mixtral model as a type.
// Errors: those of model/model.hpp
// Source: Jiang et al., arXiv:2401.04088
// Test: tests/unit/models/jamba/jamba_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/attention.hpp>
#include <plait/layers/moe.hpp>
#include <plait/model/model.hpp>
#include <plait/models/mixtral/config.hpp>

PLAIT_NAMESPACE_BEGIN

/// Mixtral-8x7B on an execution policy.
template <class Execution = exec::cpu<>>
using mixtral_8x7b = model<configs::mixtral_8x7b, Execution>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
