// linear on the CPU.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/panel_product.hpp>
#include <plait/ops/linear.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct linear_op<exec::cpu<P>> {
  template <class Outputs>
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, Outputs const& outputs) {
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    float const* const packed = panels::pack_rows(exec, x);
    std::int64_t total = 0;
    for (auto const& output : outputs) total += output.weight->panels();
    panels::group_runs const runs{{x.rows()}, x.cols()};
    exec.parallel(runs.count() * total, exec.grain(runs.count() * total), [&](std::int64_t item, int) {
      std::int64_t const run = item / total;
      std::int64_t p = item % total;
      for (auto const& [y, weight, bias] : outputs) {
        if (p < weight->panels()) {
          compute(packed, runs, run, *weight, p, bias_values(bias), y);
          return;
        }
        p -= weight->panels();
      }
    });
  }

 private:
  static float const* bias_values(channel_tensor const* bias) { return bias != nullptr ? bias->column(0) : nullptr; }
  static float const* bias_values(panel_matrix const*) { return nullptr; }

  static void compute(float const* packed, panels::group_runs const& runs, std::int64_t run, panel_matrix const& weight, std::int64_t p,
                      float const* bias, matrix_view<float> y) {
    std::int64_t const first = p * panels::panel, count = std::min<std::int64_t>(panels::panel, weight.rows() - first), k = weight.cols();
    panels::row_groups const& groups = runs.groups;
    for (std::int64_t g = runs.first(run); g < runs.end(run); ++g)
      panels::with_rows(groups.size(g), [&](auto size) {
        panels::tile<size> t;
        t.start(bias != nullptr ? bias + first : nullptr, count);
        panels::multiply<size>(t, weight.panel_data(0, p), panels::panel, packed + groups.first(g) * k, k);
        for (int m = 0; m < size; ++m) panels::write(t, m, y.row(groups.first(g) + m) + first, count);
      });
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
