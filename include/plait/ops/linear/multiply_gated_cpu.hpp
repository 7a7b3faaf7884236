// SwiGLU over one panel of gate and up: the part that gated_linear and experts have in common.
// Test: tests/unit/ops/linear/gated_linear_test.cpp, tests/unit/ops/routing/experts_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/panel_product.hpp>
#include <plait/exec/cpu.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// Panel p of y = silu(x gate^T) * (x up^T), for the row groups of run `run`.
/// Shapes: row `first_row` of x and y is the first row of the groups; `copy` is the copy (expert)
///   of gate and up; columns [p panel, (p + 1) panel) of y are written
template <dtype Stored, dtype Activations>
void multiply_gated(panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                    std::int64_t copy, std::int64_t p, packed_rows<Activations> const& x,
                    std::int64_t first_row, group_runs const& runs, std::int64_t run,
                    matrix_view<float> y) {
  std::int64_t const first = runs.first(run);
  std::int64_t const end = runs.end(run);
  std::int64_t const skipped_rows = runs.groups.first(first);
  std::int64_t const k = gate.cols();
  std::int64_t const column = p * panel;
  std::int64_t const count = std::min<std::int64_t>(panel, gate.rows() - column);
  panel_sums<Activations> gates, ups;
  bool done = false;
  if constexpr (microkernel<Stored, Activations>::pairs)
    if (runs.groups.rows == 1) {
      accumulators<1> t, u;
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
  for (std::int64_t r = 0; r < runs.groups.first(end) - skipped_rows; ++r) {
    float *const g = gates.row(r), *const u = ups.row(r);
    for (int h = 0; h < panel; h += width)
      simd::store(u + h, simd::mul(simd::silu(simd::load(g + h)), simd::load(u + h)));
    copy_columns(u, y.row(first_row + skipped_rows + r) + column, count);
  }
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
