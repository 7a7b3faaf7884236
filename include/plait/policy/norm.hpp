// The layer norm as a policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// y = weight * x / sqrt(mean(x^2) + eps) (Zhang and Sennrich, arXiv:1910.07467). eps travels at run time, in hybrid::norm_eps.
struct rms_norm {
  friend constexpr bool operator==(rms_norm const&, rms_norm const&) = default;
};

template <class Visit>
constexpr void describe(rms_norm const&, int d_model, Visit&& visit) {
  visit(tensor{.name = "weight", .role = role::vector, .rows = d_model, .start = initial::one});
}

constexpr char const* checkpoint_name(rms_norm const&) { return "rms_norm"; }

}  // namespace plait

#include <plait/core/epilogue.hpp>
