// The layer of the RMS norm, with the residual add before it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/norm/add_norm.hpp>
#include <plait/policy/norm.hpp>

PLAIT_NAMESPACE_BEGIN

/// Residual add and RMS norm in one pass.
/// Equation: x += y, unless y is empty; out = weight x / sqrt(mean(x^2) + norm_eps)
/// Shapes: x, y, out [T, D]
/// Cost: 5 T D operations; each operand is read or written once
/// Source: Zhang and Sennrich, arXiv:1910.07467
/// Test: tests/unit/layers/layer_test.cpp, tests/unit/ops/norm/add_norm_test.cpp
template <int D, rms_norm P>
struct rms_norm_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  template <class Exec, class Weights, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const& s,
                      matrix_view<std::type_identity_t<T>> x,
                      matrix_view<std::type_identity_t<T> const> y,
                      matrix_view<std::type_identity_t<T>> out) {
    ops::add_norm(exec, x, y, w.template get<"weight">(), s.norm_eps, out);
  }
};

/// Binds `rms_norm` to its layer.
template <>
struct layer_of<rms_norm> {
  template <int D, rms_norm P>
  using bind = rms_norm_layer<D, P>;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
