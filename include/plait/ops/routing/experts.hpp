// SwiGLU experts of a mixture: the weighted sum of the chosen experts of every token.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/activation/activation.hpp>
#include <plait/ops/dispatch.hpp>
#include <plait/ops/routing/routing.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct experts_op {
  PLAIT_OP_MISSING(experts);
};

/// An expert without tokens is not read.
/// Equation: y[t] = sum_k weight[t, k] down_e(silu(gate_e x[t]) * up_e x[t]) with e = expert[t, k],
///   summed in descending order of weight
/// Shapes: x, y [T, d], y may be x; gate and up [n][F, d], down [n][d, F]; the plan as in
///   routing.hpp
/// Cost: 6 d F operations per token and choice; 3 d F weights read per expert with tokens
/// Source: Shazeer et al., arXiv:1701.06538; Shazeer, arXiv:2002.05202
/// Test: tests/unit/ops/routing/experts_test.cpp
template <class Exec, class Matrix>
void experts(Exec& exec, matrix_view<typename Exec::value_type const> x,
             routing<typename Exec::output_type> const& plan, Matrix const& gate, Matrix const& up,
             Matrix const& down, matrix_view<typename Exec::value_type> y) {
  experts_op<Exec>::run(exec, x, plan, gate, up, down, y);
}

template <>
struct experts_op<exec::reference> {
  static void run(exec::reference& exec, matrix_view<double const> x, routing<double> const& plan,
                  plain_tensor<double> const& gate, plain_tensor<double> const& up,
                  plain_tensor<double> const& down, matrix_view<double> y) {
    arena::frame const scratch(exec.workspace);
    double* const hidden = exec.workspace.take<double>(gate.rows());
    double* const sum = exec.workspace.take<double>(down.rows());
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (std::int64_t c = 0; c < down.rows(); ++c) sum[c] = 0;
      for (std::int64_t j = 0; j < plan.expert.cols(); ++j) {
        std::int64_t const e = plan.expert(t, j);
        for (std::int64_t f = 0; f < gate.rows(); ++f) {
          double g = 0;
          double u = 0;
          for (std::int64_t c = 0; c < x.cols(); ++c) {
            g += x(t, c) * gate.row(e, f)[c];
            u += x(t, c) * up.row(e, f)[c];
          }
          hidden[f] = silu(g) * u;
        }
        for (std::int64_t c = 0; c < down.rows(); ++c) {
          double out = 0;
          for (std::int64_t f = 0; f < gate.rows(); ++f) out += hidden[f] * down.row(e, c)[f];
          sum[c] += plan.weight(t, j) * out;
        }
      }
      for (std::int64_t c = 0; c < down.rows(); ++c) y(t, c) = sum[c];
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
