// The state-space part of Mamba, from the output of x_proj to the gated output: inner norms,
// dt_proj and selective scan.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/ops/norm/inner_norms.hpp>
#include <plait/ops/selective_scan/selective_scan.hpp>

#include <array>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Activations: u and z [T, d]; selected [T, R + 2 N] = x_proj u, with dt (of rank R), B and C of a
/// token side by side. selected is overwritten.
template <class T>
struct ssm_input {
  matrix_view<T const> u, z;
  matrix_view<T> selected;
};

/// Weights: inner norms of dt [R], B [N] and C [N], dt_proj [d, R] and its bias [d], a_log [d, N],
/// d [d].
template <class Matrix, class Vector, class State>
struct ssm_weights {
  Vector const *dt_norm, *b_norm, *c_norm;
  Matrix const* dt_proj;
  Vector const* dt_bias;
  State const* a_log;
  Vector const* d;

  ssm_weights(Vector const& norm_of_dt, Vector const& norm_of_b, Vector const& norm_of_c,
              Matrix const& step, Vector const& step_bias, State const& logarithms,
              Vector const& skip)
      : dt_norm(&norm_of_dt),
        b_norm(&norm_of_b),
        c_norm(&norm_of_c),
        dt_proj(&step),
        dt_bias(&step_bias),
        a_log(&logarithms),
        d(&skip) {}
};

/// selective_ssm as a sequence of ops: inner_norms, linear, selective_scan.
template <class Exec, class T, class Matrix, class Vector, class State>
void selective_ssm_by_parts(Exec& exec, sequences<T> const& seqs, ssm_input<T> const& in,
                            ssm_weights<Matrix, Vector, State> const& w, float eps,
                            matrix_view<T> y) {
  std::int64_t const rank = w.dt_proj->cols(), states = w.a_log->cols();
  arena::frame const scratch(exec.workspace);
  auto const dt = exec.template matrix<T>(in.u.rows(), in.u.cols());
  inner_norms(exec, in.selected, std::array{w.dt_norm, w.b_norm, w.c_norm}, eps);
  linear(exec, in.selected.middle_cols(0, rank), into(dt, *w.dt_proj, w.dt_bias));
  selective_scan(exec, seqs,
                 {in.u, in.z, dt, in.selected.middle_cols(rank, states),
                  in.selected.middle_cols(rank + states, states)},
                 *w.a_log, *w.d, y);
}

/// The default runs the parts; a device has one launch where every sequence has one new token.
template <class Exec>
struct selective_ssm_op {
  template <class T, class Matrix, class Vector, class State>
  static void run(Exec& exec, sequences<T> const& seqs, ssm_input<T> const& in,
                  ssm_weights<Matrix, Vector, State> const& w, float eps, matrix_view<T> y) {
    selective_ssm_by_parts(exec, seqs, in, w, eps, y);
  }
};

/// Equation: [dt, B, C] = selected, each with its RMS norm; dt = dt_proj dt + bias; y =
///   selective_scan(u, z, dt, B, C)
/// Shapes: activations as in ssm_input, weights as in ssm_weights; y [T, d] may be u
/// Cost: that of inner_norms, linear and selective_scan
/// Source: Gu and Dao, arXiv:2312.00752; the norms: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/layers/golden_test.cpp,
///   tests/unit/ops/selective_scan/selective_ssm_gpu_test.cpp
template <class Exec, class Matrix, class Vector, class State>
void selective_ssm(Exec& exec, sequences<typename Exec::value_type> const& seqs,
                   ssm_input<typename Exec::value_type> const& in,
                   ssm_weights<Matrix, Vector, State> const& weights, float eps,
                   matrix_view<typename Exec::value_type> y) {
  selective_ssm_op<Exec>::run(exec, seqs, in, weights, eps, y);
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
