// Mamba's input projection, and the short convolution of its first half.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/linear/linear.hpp>
#include <plait/ops/short_conv/conv_silu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The default calls linear and conv_silu; a device has one launch where every sequence has one new
/// token.
template <class Exec>
struct linear_conv_op {
  template <class T, class Matrix, class Vector, class Bias, class Taps>
  static void run(Exec& exec, sequences<T> const& seqs, matrix_view<T const> x,
                  linear_output<T, Matrix, Vector> const& uz, Taps const& taps, Bias const* bias,
                  matrix_view<T> u) {
    linear(exec, x, uz);
    conv_silu(exec, seqs, matrix_view<T const>(uz.y.middle_cols(0, u.cols())), taps, bias, u);
  }
};

/// Equation: [v, z] = x W^T (+ bias of W), u = conv_silu(v, taps, bias)
/// Shapes: x [T, D], uz [T, 2 d], u [T, d]. Afterwards the second half of uz is z, and its first
///   half is unspecified
/// Cost: that of linear and conv_silu
/// Test: tests/unit/layers/golden_test.cpp, tests/unit/model/device_test.cpp
template <class Exec, class Matrix, class Vector, class Taps, class Bias>
void linear_conv(Exec& exec, sequences<typename Exec::value_type> const& seqs,
                 matrix_view<typename Exec::value_type const> x,
                 linear_output<typename Exec::value_type, Matrix, Vector> const& uz,
                 Taps const& taps, Bias const* bias, matrix_view<typename Exec::value_type> u) {
  linear_conv_op<Exec>::run(exec, seqs, x, uz, taps, bias, u);
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
