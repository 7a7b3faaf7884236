// The panels of gate and up of the same rows behind one another, then silu(gate) up; and the pass
// over one panel that experts share with it.
// Equation: as panel_product.hpp
// Shapes: workspace: T K floats, none for one token of f32; less where activations are packed
//   narrower
// Cost: threads share (run of groups, panel)
// Test: tests/unit/ops/linear/gated_linear_test.cpp, tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/linear/gated_linear.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <dtype Stored, dtype Activations>
struct gated_linear_cpu {
  static void run(exec::host& exec, matrix_view<float const> x, panel_matrix<Stored> const& gate,
                  panel_matrix<Stored> const& up, matrix_view<float> y);
};

template <precision P>
struct gated_linear_op<exec::cpu<P>> {
  template <dtype Stored>
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, panel_matrix<Stored> const& gate,
                  panel_matrix<Stored> const& up, matrix_view<float> y) {
    gated_linear_cpu<Stored, activation_type(Stored, exec::cpu<P>::compute)>::run(exec, x, gate, up,
                                                                                  y);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/panel_product.hpp>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// silu(x gate) * (x up) for the groups of a run of packed rows and panel p of each, copy `copy`:
/// their columns of y, whose row first_row is the first of x.
template <dtype Stored, dtype Activations>
void multiply_gated(panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                    std::int64_t copy, std::int64_t p, packed_rows<Activations> const& x,
                    std::int64_t first_row, group_runs const& runs, std::int64_t run,
                    matrix_view<float> y) {
  std::int64_t const first = runs.first(run), end = runs.end(run),
                     before = runs.groups.first(first), k = gate.cols();
  std::int64_t const column = p * panel,
                     count = std::min<std::int64_t>(panel, gate.rows() - column);
  panel_sums<Activations> gates, ups;
  bool done = false;
  if constexpr (product<Stored, Activations>::pairs)
    if (runs.groups.rows == 1) {
      tile<1> t, u;
      t.start();
      u.start();
      multiply_pair<Stored, Activations>(gate.panel_data(copy, p), up.panel_data(copy, p),
                                         x.at(first_row), k, t, u);
      t.store(gates.row(0));
      u.store(ups.row(0));
      done = true;
    }
  if (!done) {
    multiply_groups<Stored, Activations>(gate.panel_data(copy, p), x, first_row, runs.groups, first,
                                         end, k, nullptr, panel, gates);
    multiply_groups<Stored, Activations>(up.panel_data(copy, p), x, first_row, runs.groups, first,
                                         end, k, nullptr, panel, ups);
  }
  for (std::int64_t r = 0; r < runs.groups.first(end) - before; ++r) {
    float *const g = gates.row(r), *const u = ups.row(r);
    for (int h = 0; h < panel; h += width)
      simd::store(u + h, simd::mul(simd::silu(simd::load(g + h)), simd::load(u + h)));
    copy_columns(u, y.row(first_row + before + r) + column, count);
  }
}

}  // namespace panels

namespace ops {

template <dtype Stored, dtype Activations>
void gated_linear_cpu<Stored, Activations>::run(exec::host& exec, matrix_view<float const> x,
                                                panel_matrix<Stored> const& gate,
                                                panel_matrix<Stored> const& up,
                                                matrix_view<float> y) {
  if (x.rows() == 0) return;
  arena::frame const scratch(exec.workspace);
  auto const packed = panels::pack_rows<Activations>(exec, x);
  panels::row_groups const groups{x.rows(), panels::max_rows(Activations)};
  panels::group_runs const runs{groups};
  exec.parallel(runs.count() * gate.panels(), exec.grain(runs.count() * gate.panels()),
                [&](std::int64_t item, int) {
                  panels::multiply_gated<Stored, Activations>(
                      gate, up, 0, item % gate.panels(), packed, 0, runs, item / gate.panels(), y);
                });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
