// The layer of Mamba-1 with Jamba's inner norms.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/ops/selective_scan/selective_ssm.hpp>
#include <plait/ops/short_conv/linear_conv.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/rule.hpp>

PLAIT_NAMESPACE_BEGIN

/// A selective state space layer (Mamba-1) with RMS norms of dt, B and C.
/// Equation: [u, z] = in_proj x, the input first, then the gate; u = silu(conv1d(u) + bias)
///   (ops/short_conv/conv_silu.hpp); [dt, B, C] = x_proj u, each with its RMS norm;
///   dt = dt_proj dt + bias; y = out_proj(scan(u, dt, B, C) * silu(z))
///   (ops/selective_scan/selective_ssm.hpp)
/// Shapes: d = expand D, R = dt_rank, N = d_state; workspace T (4 d + R + 2 N) values
/// State: the last d_conv - 1 inputs of the convolution, [d_conv - 1][d], then S, [N][d]
/// Cost: 2 T d (3 D + 2 R + 2 N) operations in the projections, T d (2 d_conv + 7 N + 16) in
///   convolution and scan
/// Source: Gu and Dao, arXiv:2312.00752; the norms: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/layers/layer_test.cpp, tests/unit/layers/golden_test.cpp
template <int D, mamba P>
struct mamba_layer {
  static constexpr int d_model = D;
  static constexpr auto policy = P;

  PLAIT_RULE(d_state, P.d_state > 0, "plait: mamba needs d_state");
  PLAIT_RULE(d_conv, P.d_conv > 0, "plait: mamba needs d_conv, at least 1");
  PLAIT_RULE(expand, P.expand > 0, "plait: mamba needs expand");
  PLAIT_RULE(dt_rank, P.dt_rank >= 0,
             "plait: dt_rank must not be negative; 0 means d_model / 16, rounded up");
  PLAIT_RULE(inner_norms, P.inner_norms,
             "plait: mamba without inner norms is not offered yet: it has no golden result to be "
             "checked against");

  static constexpr continuation continues = continuation::bitwise;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, layer_settings const& s,
                      sequences<T> const& seqs, matrix_view<std::type_identity_t<T> const> x,
                      matrix_view<std::type_identity_t<T>> y, Observer&&) {
    constexpr std::int64_t d = P.inner(D);
    constexpr std::int64_t R = P.rank(D);
    constexpr std::int64_t N = P.d_state;
    sequences<T> scan_state = seqs;  // S follows the inputs of the convolution
    scan_state.state_offset += (P.d_conv - 1) * d;

    arena::frame const scratch(exec.workspace);
    auto const uz = exec.template matrix<T>(x.rows(), 2 * d);
    auto const u = exec.template matrix<T>(x.rows(), d);
    auto const selected = exec.template matrix<T>(x.rows(), R + 2 * N);  // dt, B, C

    ops::linear_conv(exec, seqs, x,
                     ops::into(uz, w.template get<"in_proj">(), w.template find<"in_proj.bias">()),
                     w.template get<"conv1d">(), w.template find<"conv1d.bias">(), u);
    ops::linear(exec, u, ops::into(selected, w.template get<"x_proj">()));
    if constexpr (P.inner_norms)
      ops::selective_ssm(
          exec, scan_state, {u, uz.middle_cols(d, d), selected},
          ops::ssm_weights(w.template get<"dt_layernorm">(), w.template get<"b_layernorm">(),
                           w.template get<"c_layernorm">(), w.template get<"dt_proj">(),
                           w.template get<"dt_proj.bias">(), w.template get<"A_log">(),
                           w.template get<"D">()),
          s.norm_eps, u);
    ops::linear(exec, u,
                ops::into(y, w.template get<"out_proj">(), w.template find<"out_proj.bias">()));
  }
};

/// Binds `mamba` to its layer.
template <>
struct layer_of<mamba> {
  template <int D, mamba P>
  using bind = mamba_layer<D, P>;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
