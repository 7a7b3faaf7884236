// Residual add without a norm: the end of a stack that has no head.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct add_residual_op {
  PLAIT_OP_MISSING(add_residual);
};

/// Equation: x += y
/// Shapes: x, y [T, d]; y must not be empty where x is not
/// Cost: T d operations, 3 T d values of memory traffic
/// Source: none, it is elementary
/// Test: tests/unit/ops/norm/add_residual_test.cpp
template <class Exec>
void add_residual(Exec& exec, matrix_view<typename Exec::value_type> x,
                  matrix_view<typename Exec::value_type const> y) {
  add_residual_op<Exec>::run(exec, x, y);
}

template <>
struct add_residual_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double> x, matrix_view<double const> y) {
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (std::int64_t c = 0; c < x.cols(); ++c) x(t, c) += y(t, c);
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
