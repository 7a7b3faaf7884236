// Depthwise causal convolution with bias and SiLU.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/activation/activation.hpp>
#include <plait/ops/dispatch.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct conv_silu_op {
  PLAIT_OP_MISSING(conv_silu);
};

/// Equation: y[t, c] = silu(bias[c] + sum_k taps[c, k] u[t - (W - 1) + k, c]) per sequence; the
///   last tap multiplies the current token
/// Shapes: u, y [T, d], which must not overlap; taps [d, W], W >= 1; bias [d] or null
/// State: per sequence the window, its last W - 1 inputs, [W - 1][d], oldest first, zeros at the
///   start
/// Cost: 2 W operations and an exp per value
/// Source: Gu and Dao, arXiv:2312.00752
/// Test: tests/unit/ops/short_conv/conv_silu_test.cpp
template <class Exec, class Taps, class Vector>
void conv_silu(Exec& exec, sequences<typename Exec::value_type> const& seqs,
               matrix_view<typename Exec::value_type const> u, Taps const& taps, Vector const* bias,
               matrix_view<typename Exec::value_type> y) {
  conv_silu_op<Exec>::run(exec, seqs, u, taps, bias, y);
}

template <>
struct conv_silu_op<exec::reference> {
  static void run(exec::reference& exec, sequences<double> const& seqs, matrix_view<double const> u,
                  plain_tensor<double> const& taps, plain_tensor<double> const* bias,
                  matrix_view<double> y) {
    std::int64_t const d = taps.rows();
    std::int64_t const window_rows = taps.cols() - 1;
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      double* const window = seqs.state_of(s);
      for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t)
        for (std::int64_t c = 0; c < d; ++c) {
          double sum = bias != nullptr ? (*bias)(c) : 0;
          for (std::int64_t k = 0; k < window_rows; ++k) sum += taps(c, k) * window[k * d + c];
          y(t, c) = silu(sum + taps(c, window_rows) * u(t, c));
          for (std::int64_t k = 0; k + 1 < window_rows; ++k)
            window[k * d + c] = window[(k + 1) * d + c];
          if (window_rows > 0) window[(window_rows - 1) * d + c] = u(t, c);
        }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
