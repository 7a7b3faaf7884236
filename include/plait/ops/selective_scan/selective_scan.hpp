// The selective scan of Mamba-1: recurrence with softplus, skip connection and gate.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/activation/activation.hpp>
#include <plait/ops/dispatch.hpp>

#include <cmath>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Activations of a scan, one row per token: u, z and dt [T, d], B and C [T, N]. dt is the value
/// before the softplus, bias included.
template <class T>
struct scan_input {
  matrix_view<T const> u, z, dt, B, C;
};

template <class Exec>
struct selective_scan_op {
  PLAIT_OP_MISSING(selective_scan);
};

/// Equation: with delta = softplus(dt[t, c]) and A = -exp(a_log), per sequence and token t: S[n, c]
///   <- exp(delta A[c, n]) S[n, c] + delta u[t, c] B[t, n], then y[t, c] = (sum_n S[n, c] C[t, n] +
///   d[c] u[t, c]) silu(z[t, c]). A is discretised by the exponential, B by Euler's method; y reads
///   S after the update
/// Shapes: activations as in scan_input, y [T, d], a_log [d, N], d [d]; y may be u
/// State: per sequence S, [N][d], zeros at the start, f32 outside of the reference
/// Cost: 7 N operations per value, one of them an exp
/// Source: Gu and Dao, arXiv:2312.00752
/// Test: tests/unit/ops/selective_scan/selective_scan_test.cpp
template <class Exec, class State, class Vector>
void selective_scan(Exec& exec, sequences<typename Exec::value_type> const& seqs,
                    scan_input<typename Exec::value_type> const& in, State const& a_log,
                    Vector const& d, matrix_view<typename Exec::value_type> y) {
  selective_scan_op<Exec>::run(exec, seqs, in, a_log, d, y);
}

template <>
struct selective_scan_op<exec::reference> {
  static void run(exec::reference& exec, sequences<double> const& seqs,
                  scan_input<double> const& in, plain_tensor<double> const& a_log,
                  plain_tensor<double> const& d, matrix_view<double> y) {
    std::int64_t const channels = a_log.rows(), states = a_log.cols();
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      double* const state = seqs.state_of(s);
      for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t)
        for (std::int64_t c = 0; c < channels; ++c) {
          double const delta = softplus(in.dt(t, c)), u = in.u(t, c);
          double sum = 0;
          for (std::int64_t n = 0; n < states; ++n) {
            double& S = state[n * channels + c];
            S = std::exp(delta * -std::exp(a_log(c, n))) * S + delta * u * in.B(t, n);
            sum += S * in.C(t, n);
          }
          y(t, c) = (sum + d(c) * u) * silu(in.z(t, c));
        }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
