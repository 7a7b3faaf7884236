// Mamba's input projection, and the convolution of its first half.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/linear/linear.hpp>
#include <plait/ops/short_conv/conv_silu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The two ops one after the other; a device does both at once where every sequence has one token.
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

/// Equation: [v, z] = x W^T (+ bias), u = silu(conv(v) + bias)
/// Shapes: x [T, D], uz [T, 2 d], u [T, d]; uz holds z in its second half afterwards, its first
///   half may hold anything
/// Cost: those of linear (linear.hpp) and conv_silu (conv_silu.hpp), which it calls; a device has
///   one kernel where every sequence has one token
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
