// The layer norm as a policy. The computation is in layers/norm.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// The RMS norm.
/// Equation: y = weight x / sqrt(mean(x^2) + eps); eps is `hybrid::norm_eps`, a run-time value
/// Shapes: weight [d_model]. In a config.json of model type plait its name is "rms_norm"
/// Cost: not counted by policy/count.hpp
/// Source: Zhang and Sennrich, arXiv:1910.07467
/// Test: tests/unit/policy/policy_test.cpp, tests/unit/ops/norm/add_norm_test.cpp
struct rms_norm {
  friend constexpr bool operator==(rms_norm const&, rms_norm const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(rms_norm const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .start = initial::one});
}

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(rms_norm const&) { return "rms_norm"; }

}  // namespace plait

#include <plait/core/epilogue.hpp>
