// gated_linear on the CPU, and the pass over one panel that experts share with it.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/panel_product.hpp>
#include <plait/ops/gated_linear.hpp>

namespace plait::inline PLAIT_ABI::panels {

/// silu(x gate) * (x up) for groups [first, end) of packed rows and one panel of each: row r of the result is y.row(first_row + r).
template <dtype Stored, dtype Activations>
void multiply_gated(std::byte const* gate, std::byte const* up, packed_rows<Activations> const& x, std::int64_t first_row,
                    row_groups const& groups, std::int64_t first, std::int64_t end, std::int64_t k, matrix_view<float> y,
                    std::int64_t column, std::int64_t count) {
  alignas(64) float gated[group_runs::groups_a_run * max_rows(Activations) * panel];
  auto const gate_tile = [&](auto& t, float const* gates) {
    for (int m = 0; m < static_cast<int>(std::size(t.sum)); ++m)
      for (int h = 0; h < 2; ++h) t.sum[m][h] = simd::mul(simd::silu(simd::load(gates + m * panel + h * width)), t.sum[m][h]);
  };
  if constexpr (product<Stored, Activations>::pairs)
    if (groups.rows == 1) {
      tile<1> t, u;
      t.start(), u.start();
      product<Stored, Activations>::run_pair(t, u, gate, up, x.at(first_row), k);
      t.store(gated);
      gate_tile(u, gated);
      u.write(0, y.row(first_row) + column, count);
      return;
    }
  auto const place = [&](std::int64_t g) { return gated + (groups.first(g) - groups.first(first)) * panel; };
  multiply_groups<Stored, Activations>(gate, x, first_row, groups, first, end, k, nullptr, panel,
                                       [&](std::int64_t g, auto const& t) { t.store(place(g)); });
  multiply_groups<Stored, Activations>(up, x, first_row, groups, first, end, k, nullptr, panel, [&](std::int64_t g, auto& t) {
    gate_tile(t, place(g));
    for (int m = 0; m < static_cast<int>(std::size(t.sum)); ++m) t.write(m, y.row(first_row + groups.first(g) + m) + column, count);
  });
}

}  // namespace plait::inline PLAIT_ABI::panels

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct gated_linear_op<exec::cpu<P>> {
  template <dtype Stored>
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                  matrix_view<float> y) {
    constexpr dtype activations = activation_type(Stored, exec::cpu<P>::compute);
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    auto const packed = panels::pack_rows<activations>(exec, x);
    panels::row_groups const groups{x.rows(), panels::max_rows(activations)};
    panels::group_runs const runs{groups};
    exec.parallel(runs.count() * gate.panels(), exec.grain(runs.count() * gate.panels()), [&](std::int64_t item, int) {
      std::int64_t const run = item / gate.panels(), p = item % gate.panels(), first = p * panels::panel;
      panels::multiply_gated<Stored, activations>(gate.panel_data(0, p), up.panel_data(0, p), packed, 0, groups, runs.first(run),
                                                  runs.end(run), x.cols(), y, first,
                                                  std::min<std::int64_t>(panels::panel, gate.rows() - first));
    });
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
