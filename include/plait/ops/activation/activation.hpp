// The scalar functions, in double, as the reference uses them.
// Equation: silu(x) = x / (1 + exp(-x)); softplus(x) = log(1 + exp(x)), without overflow and exact
//   for very negative x
// Errors: none; NaN stays NaN
// Cost: an exp; an exp and a log
// Test: tests/unit/layers/golden_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cmath>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// x / (1 + exp(-x))
inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// log(1 + exp(x)), without overflow and exact for very negative x.
inline double softplus(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
