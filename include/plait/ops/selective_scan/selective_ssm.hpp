// Mamba's state-space part, from what x_proj selects for each token to the gated output: norms,
// dt_proj and scan.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/ops/norm/add_norm.hpp>
#include <plait/ops/selective_scan/selective_scan.hpp>

#include <array>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Activations: u and z [T, d]; selected [T, R + 2 N] = x_proj u, a token's step (of rank R), B and
/// C side by side, which are overwritten.
template <class T>
struct ssm_input {
  matrix_view<T const> u, z;
  matrix_view<T> selected;
};

/// Weights: the inner norms of the three parts, dt_proj [d, R] and its bias [d], A_log [d, N], D
/// [d].
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

/// One op after the other.
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

/// By parts; a device has a kernel for all of it where every sequence has one token.
template <class Exec>
struct selective_ssm_op {
  template <class T, class Matrix, class Vector, class State>
  static void run(Exec& exec, sequences<T> const& seqs, ssm_input<T> const& in,
                  ssm_weights<Matrix, Vector, State> const& w, float eps, matrix_view<T> y) {
    selective_ssm_by_parts(exec, seqs, in, w, eps, y);
  }
};

/// Equation: [dt, B, C] = selected, each with its RMS norm; dt = dt_proj dt + bias; y =
///   selective_scan(u, dt, B, C) silu(z)
/// Shapes: u, z, y [T, d], selected [T, R + 2 N], which is overwritten; dt_proj [d, R]; y may be u
/// Errors: none but for a workspace that is too small
/// Cost: that of inner_norms (add_norm.hpp), linear (linear.hpp) and selective_scan
///   (selective_scan.hpp), which it calls; a device has one kernel where every sequence has one
///   token
/// Source: Gu and Dao, arXiv:2312.00752; the norms: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/layers/golden_test.cpp,
/// tests/unit/ops/selective_scan/selective_ssm_gpu_test.cpp
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
