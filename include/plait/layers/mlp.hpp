// The layer of the dense SwiGLU feed-forward.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/linear/gated_linear.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/rule.hpp>

PLAIT_NAMESPACE_BEGIN

/// A dense feed-forward with SwiGLU.
/// Equation: y = down_proj(silu(gate_proj x) * up_proj x)
/// Shapes: workspace T d_ff values
/// Cost: 6 T D d_ff operations, 3 D d_ff weights
/// Source: Shazeer, arXiv:2002.05202
/// Test: tests/unit/layers/layer_test.cpp, tests/unit/layers/golden_test.cpp
template <int D, mlp P>
struct mlp_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  PLAIT_RULE(d_ff, P.d_ff > 0, "plait: mlp needs d_ff");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const&,
                      matrix_view<std::type_identity_t<T> const> x,
                      matrix_view<std::type_identity_t<T>> y, Observer&&) {
    arena::frame const scratch(exec.workspace);
    auto const hidden = exec.template matrix<T>(x.rows(), P.d_ff);
    ops::gated_linear(exec, x, w.template get<"gate_proj">(), w.template get<"up_proj">(), hidden);
    ops::linear(exec, hidden, ops::into(y, w.template get<"down_proj">()));
  }
};

/// Binds `mlp` to its layer.
template <>
struct layer_of<mlp> {
  template <int D, mlp P>
  using bind = mlp_layer<D, P>;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
