// The layer norm as a policy. Its eps is a real and travels at run time (`hybrid::norm_eps`).
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// y = weight * x / sqrt(mean(x^2) + eps) (Zhang and Sennrich, arXiv:1910.07467). eps travels at
/// run time, in hybrid::norm_eps.
/// Equation: y = weight x / sqrt(mean(x^2) + eps). In a file it is "rms_norm"
/// Shapes: weight [d_model]
/// Cost: left out of flops
/// Source: Zhang and Sennrich, arXiv:1910.07467
/// Test: tests/unit/policy/policy_test.cpp, tests/unit/ops/norm/add_norm_test.cpp
struct rms_norm {
  friend constexpr bool operator==(rms_norm const&, rms_norm const&) = default;
};

/// The tensors, each once (policy/tensor.hpp).
template <class Visit>
constexpr void describe(rms_norm const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .start = initial::one});
}

/// What they are found under in a file.
constexpr char const* checkpoint_name(rms_norm const&) { return "rms_norm"; }

}  // namespace plait

#include <plait/core/epilogue.hpp>
