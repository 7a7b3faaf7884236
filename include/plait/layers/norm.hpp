// The layer norm.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/add_norm.hpp>
#include <plait/policy/norm.hpp>

namespace plait::inline PLAIT_ABI {

/// x += y, out = rms_norm(x) (policy/norm.hpp). y may be empty: nothing to add yet.
template <int D, rms_norm P>
struct rms_norm_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  template <class Exec, class Weights, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const& s, matrix_view<std::type_identity_t<T>> x,
                      matrix_view<std::type_identity_t<T> const> y, matrix_view<std::type_identity_t<T>> out) {
    ops::add_norm(exec, x, y, w.template get<"weight">(), s.norm_eps, out);
  }
};

template <>
struct layer_of<rms_norm> {
  template <int D, rms_norm P>
  using bind = rms_norm_layer<D, P>;
};

}  // namespace plait::inline PLAIT_ABI

#include <plait/core/epilogue.hpp>
