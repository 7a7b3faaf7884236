// Linear maps of one input, several at a time.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <array>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// One output of linear: y [T, N] = x weight^T (+ bias), weight [N, K], bias [N] or null.
template <class T, class Matrix, class Vector>
struct linear_output {
  matrix_view<T> y;
  Matrix const* weight;
  Vector const* bias;
};

/// Makes an output of linear, without a bias or with one, which may be null.
template <class T, class Matrix>
linear_output<T, Matrix, Matrix> into(matrix_view<T> y, Matrix const& weight) {
  return {y, &weight, nullptr};
}
template <class T, class Matrix, class Vector>
linear_output<T, Matrix, Vector> into(matrix_view<T> y, Matrix const& weight, Vector const* bias) {
  return {y, &weight, bias};
}

template <class Exec>
struct linear_op {
  PLAIT_OP_MISSING(linear);
};

/// Outputs are activations (Exec::value_type) or logits (Exec::output_type).
/// Equation: y[t, o] = bias[o] + sum_k x[t, k] weight[o, k]: one chain of multiply-adds per output
///   element, from the bias over k upwards
/// Shapes: x [T, K]; of each output y [T, N], weight [N, K] (stored [out, in]), bias [N] or null. y
///   must not overlap x
/// Cost: 2 T K N operations, N K weights read
/// Source: none, it is elementary
/// Test: tests/unit/ops/linear/linear_test.cpp
template <class Exec, class T, class Matrix, class Vector, std::size_t Outputs>
void linear(Exec& exec, matrix_view<typename Exec::value_type const> x,
            std::array<linear_output<T, Matrix, Vector>, Outputs> const& outputs) {
  static_assert(std::is_same_v<T, typename Exec::value_type> ||
                std::is_same_v<T, typename Exec::output_type>);
  linear_op<Exec>::run(exec, x, outputs);
}
template <class Exec, class T, class Matrix, class Vector>
void linear(Exec& exec, matrix_view<typename Exec::value_type const> x,
            linear_output<T, Matrix, Vector> const& output) {
  linear_op<Exec>::run(exec, x, std::array{output});
}

template <>
struct linear_op<exec::reference> {
  template <class Outputs>
  static void run(exec::reference& exec, matrix_view<double const> x, Outputs const& outputs) {
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (auto const& [y, weight, bias] : outputs)
        for (std::int64_t n = 0; n < weight->rows(); ++n) {
          double sum = bias != nullptr ? (*bias)(n) : 0;
          for (std::int64_t k = 0; k < x.cols(); ++k) sum += x(t, k) * (*weight)(n, k);
          y(t, n) = sum;
        }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
