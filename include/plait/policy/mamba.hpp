// Mamba-1 with Jamba's inner norms as a policy: hyperparameters, tensors and costs. The computation
// is in layers/mamba.hpp.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/tensor.hpp>

namespace plait {

/// A selective state space layer with RMS norms of dt, B and C.
/// Equation: d = inner = expand d_model; N = d_state; W = d_conv; R = rank = dt_rank, or d_model /
///   16 rounded up where dt_rank is 0
/// Shapes: in_proj [2 d, d_model], conv1d [d, W], x_proj [R + 2 N, d], dt_proj [d, R], dt_proj.bias
///   [d], A_log [d, N], D [d], out_proj [d_model, d]; with inner_norms dt_layernorm [R],
///   b_layernorm and c_layernorm [N]; with proj_bias in_proj.bias [2 d] and out_proj.bias
///   [d_model]; with conv_bias conv1d.bias [d]. In a config.json of model type plait its name is
///   "mamba" and dt_rank is R
/// State: d (W - 1 + N) values per sequence (`state_values`), for any length
/// Errors: none; layers/mamba.hpp checks the hyperparameters
/// Cost: d (2 W + 7 N + 16) operations per token beyond the linear maps: the convolution two per
///   tap; the scan seven per state (dt A, exp, two multiply-adds, dt u B); softplus, D, SiLU and
///   gate 16 per channel
/// Source: Gu and Dao, arXiv:2312.00752; the norms: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp
struct mamba {
  int d_state = 16;
  int d_conv = 4;
  int expand = 2;
  int dt_rank = 0;  ///< 0: d_model / 16, rounded up
  bool conv_bias = true;
  bool proj_bias = false;
  bool inner_norms = true;

  constexpr int inner(int d_model) const { return expand * d_model; }
  constexpr int rank(int d_model) const { return dt_rank > 0 ? dt_rank : (d_model + 15) / 16; }
  friend constexpr bool operator==(mamba const&, mamba const&) = default;
};

/// The tensors of the policy: `describe` of policy/tensor.hpp.
template <class Visit>
constexpr void describe(mamba const& p, int d_model, Visit&& visit) {
  std::int64_t const d = p.inner(d_model);
  std::int64_t const r = p.rank(d_model);
  std::int64_t const n = p.d_state;
  visit(tensor{.name = "in_proj", .rows = 2 * d, .cols = d_model});
  if (p.proj_bias)
    visit(tensor{
        .name = "in_proj.bias", .role = role::vector, .rows = 2 * d, .start = initial::zero});
  visit(tensor{.name = "conv1d", .role = role::vector, .rows = d, .cols = p.d_conv});
  if (p.conv_bias)
    visit(tensor{.name = "conv1d.bias", .role = role::vector, .rows = d, .start = initial::zero});
  visit(tensor{.name = "x_proj", .rows = r + 2 * n, .cols = d});
  visit(tensor{.name = "dt_proj", .rows = d, .cols = r});
  visit(tensor{.name = "dt_proj.bias", .role = role::vector, .rows = d, .start = initial::zero});
  visit(tensor{
      .name = "A_log", .role = role::state, .rows = d, .cols = n, .start = initial::log_index});
  visit(tensor{.name = "D", .role = role::vector, .rows = d, .start = initial::one});
  if (p.inner_norms) {
    visit(tensor{.name = "dt_layernorm", .role = role::vector, .rows = r, .start = initial::one});
    visit(tensor{.name = "b_layernorm", .role = role::vector, .rows = n, .start = initial::one});
    visit(tensor{.name = "c_layernorm", .role = role::vector, .rows = n, .start = initial::one});
  }
  visit(tensor{.name = "out_proj", .rows = d_model, .cols = d});
  if (p.proj_bias)
    visit(tensor{
        .name = "out_proj.bias", .role = role::vector, .rows = d_model, .start = initial::zero});
}

/// The name of the policy's tensors in a checkpoint.
constexpr char const* checkpoint_name(mamba const&) { return "mamba"; }

/// The hyperparameters of the policy by name: `hyperparameters` of policy/tensor.hpp.
template <class Visit>
constexpr void hyperparameters(mamba const& p, int d_model, Visit&& visit) {
  visit("d_state", p.d_state);
  visit("d_conv", p.d_conv);
  visit("expand", p.expand);
  visit("dt_rank", p.rank(d_model));
  visit("conv_bias", p.conv_bias);
  visit("proj_bias", p.proj_bias);
  visit("inner_norms", p.inner_norms);
}

/// Values that a sequence carries between calls: the last d_conv - 1 inputs of the convolution, and
/// the recurrent state.
constexpr std::int64_t state_values(mamba const& p, int d_model) {
  return std::int64_t{p.inner(d_model)} * ((p.d_conv > 0 ? p.d_conv - 1 : 0) + p.d_state);
}

/// Operations per token beyond the linear maps.
constexpr std::int64_t extra_flops(mamba const& p, int d_model, std::int64_t) {
  return std::int64_t{p.inner(d_model)} * (2 * p.d_conv + 7 * std::int64_t{p.d_state} + 16);
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
