// Residual add and RMS norm, in one pass.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <cmath>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct add_norm_op {
  PLAIT_OP_MISSING(add_norm);
};

/// Equation: x += y (unless y is empty), then out[t] = weight x[t] / sqrt(mean(x[t]^2) + eps). The
///   weight multiplies as stored (not 1 + weight); eps is inside the root
/// Shapes: x, y, out [T, d], weight [d]; out may be x
/// Cost: 5 T d operations; each operand is read or written once
/// Source: Zhang and Sennrich, arXiv:1910.07467
/// Test: tests/unit/ops/norm/add_norm_test.cpp
template <class Exec, class Vector>
void add_norm(Exec& exec, matrix_view<typename Exec::value_type> x,
              matrix_view<typename Exec::value_type const> y, Vector const& weight, float eps,
              matrix_view<typename Exec::value_type> out) {
  add_norm_op<Exec>::run(exec, x, y, weight, eps, out);
}

template <>
struct add_norm_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double> x, matrix_view<double const> y,
                  plain_tensor<double> const& weight, float eps, matrix_view<double> out) {
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      double squares = 0;
      for (std::int64_t c = 0; c < x.cols(); ++c) {
        if (!y.empty()) x(t, c) += y(t, c);
        squares += x(t, c) * x(t, c);
      }
      double const scale = 1 / std::sqrt(squares / double(x.cols()) + double{eps});
      for (std::int64_t c = 0; c < x.cols(); ++c) out(t, c) = weight(c) * (x(t, c) * scale);
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
