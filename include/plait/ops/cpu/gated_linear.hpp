// gated_linear on the CPU, and the tile that experts share with it.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/panel_product.hpp>
#include <plait/ops/gated_linear.hpp>

namespace plait::inline PLAIT_ABI::panels {

/// silu(x gate) * (x up) for one group of rows and one panel: the result replaces the sums of `out`.
template <int Rows>
void gated_tile(tile<Rows>& out, float const* gate, float const* up, float const* x, std::int64_t k) {
  tile<Rows> gated;
  gated.start();
  multiply<Rows>(gated, gate, panel, x, k);
  out.start();
  multiply<Rows>(out, up, panel, x, k);
  for (int m = 0; m < Rows; ++m)
    for (int h = 0; h < 2; ++h) out.sum[m][h] = simd::mul(simd::silu(gated.sum[m][h]), out.sum[m][h]);
}

}  // namespace plait::inline PLAIT_ABI::panels

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct gated_linear_op<exec::cpu<P>> {
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, panel_matrix const& gate, panel_matrix const& up, matrix_view<float> y) {
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    float const* const packed = panels::pack_rows(exec, x);
    std::int64_t const k = x.cols();
    panels::row_groups const groups{x.rows()};
    panels::group_runs const runs{groups, k};
    exec.parallel(runs.count() * gate.panels(), exec.grain(runs.count() * gate.panels()), [&](std::int64_t item, int) {
      std::int64_t const run = item / gate.panels(), p = item % gate.panels();
      std::int64_t const first = p * panels::panel, count = std::min<std::int64_t>(panels::panel, gate.rows() - first);
      for (std::int64_t g = runs.first(run); g < runs.end(run); ++g)
        panels::with_rows(groups.size(g), [&](auto size) {
          panels::tile<size> t;
          panels::gated_tile<size>(t, gate.panel_data(0, p), up.panel_data(0, p), packed + groups.first(g) * k, k);
          for (int m = 0; m < size; ++m) panels::write(t, m, y.row(groups.first(g) + m) + first, count);
        });
    });
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
