// RMS norms of consecutive parts of a row: of dt, B and C inside Jamba's Mamba layer.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/norm/add_norm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The default calls add_norm once per part; a device has one launch for all parts.
template <class Exec>
struct inner_norms_op {
  template <class T, class Vector, std::size_t Parts>
  static void run(Exec& exec, matrix_view<T> x, std::array<Vector const*, Parts> const& weights,
                  float eps) {
    std::int64_t first = 0;
    for (Vector const* w : weights) {
      auto const part = x.middle_cols(first, w->rows());
      add_norm(exec, part, {}, *w, eps, part);
      first += w->rows();
    }
  }
};

/// Equation: part p of each row is normalised in place, as add_norm with weights[p] and nothing
///   added
/// Shapes: x [T, sum of the weights' sizes]
/// Cost: that of add_norm
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/ops/norm/add_norm_test.cpp
template <class Exec, class Vector, std::size_t Parts>
void inner_norms(Exec& exec, matrix_view<typename Exec::value_type> x,
                 std::array<Vector const*, Parts> const& weights, float eps) {
  inner_norms_op<Exec>::run(exec, x, weights, eps);
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
