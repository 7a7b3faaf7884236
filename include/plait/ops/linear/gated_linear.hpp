// SwiGLU: gate and up projections of one input, and their gated product.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/activation/activation.hpp>
#include <plait/ops/dispatch.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct gated_linear_op {
  PLAIT_OP_MISSING(gated_linear);
};

/// Equation: y[t, f] = silu(sum_k x[t, k] gate[f, k]) sum_k x[t, k] up[f, k]
/// Shapes: x [T, K], gate and up [F, K], y [T, F], which must not overlap x
/// Cost: 4 T K F operations, 2 F K weights read
/// Source: Shazeer, arXiv:2002.05202
/// Test: tests/unit/ops/linear/gated_linear_test.cpp
template <class Exec, class Matrix>
void gated_linear(Exec& exec, matrix_view<typename Exec::value_type const> x, Matrix const& gate,
                  Matrix const& up, matrix_view<typename Exec::value_type> y) {
  gated_linear_op<Exec>::run(exec, x, gate, up, y);
}

template <>
struct gated_linear_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double const> x,
                  plain_tensor<double> const& gate, plain_tensor<double> const& up,
                  matrix_view<double> y) {
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (std::int64_t n = 0; n < y.cols(); ++n) {
        double g = 0;
        double u = 0;
        for (std::int64_t k = 0; k < x.cols(); ++k) {
          g += x(t, k) * gate(n, k);
          u += x(t, k) * up(n, k);
        }
        y(t, n) = silu(g) * u;
      }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
