// Activation functions in double, for the reference implementations.
// Equation: silu(x) = x / (1 + exp(-x)); softplus(x) = log(1 + exp(x))
// Errors: none; NaN stays NaN
// Cost: an exp; an exp and a log
// Test: tests/unit/layers/golden_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cmath>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// SiLU, also called swish.
inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// Does not overflow; accurate for very negative x too.
inline double softplus(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
