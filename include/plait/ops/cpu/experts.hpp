// experts on the CPU: tokens gathered by expert, each expert's weights read once for all of its tokens.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/gated_linear.hpp>
#include <plait/ops/experts.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct experts_op<exec::cpu<P>> {
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, routing<float> const& plan, panel_matrix const& gate,
                  panel_matrix const& up, panel_matrix const& down, matrix_view<float> y) {
    std::int64_t const d = x.cols(), f = gate.rows(), n = plan.num_experts, choices = plan.expert.cols(), rows = x.rows() * choices;
    if (rows == 0) return;
    arena::frame const scratch(exec.workspace);
    // Both in groups of rows, [k][row], as panels::multiply reads them.
    float* const gathered = exec.workspace.template take<float>(rows * d);
    float* const hidden = exec.workspace.template take<float>(rows * f);
    matrix_view<float> const outputs = exec.template matrix<float>(rows, d);

    exec.parallel(n, [&](std::int64_t e, int) {
      panels::row_groups const groups = groups_of(plan, e);
      for (std::int64_t g = 0; g < groups.count(); ++g) {
        std::int64_t const row = plan.first[e] + groups.first(g);
        panels::pack_group([&](std::int64_t m) { return x.row(plan.token[row + m]); }, groups.size(g), d, gathered + row * d);
      }
    });
    exec.parallel(n * gate.panels(), exec.grain(n * gate.panels()), [&](std::int64_t item, int) {
      std::int64_t const e = item / gate.panels(), p = item % gate.panels();
      std::int64_t const first = p * panels::panel, count = std::min<std::int64_t>(panels::panel, f - first);
      panels::row_groups const groups = groups_of(plan, e);
      for (std::int64_t g = 0; g < groups.count(); ++g) {
        std::int64_t const row = plan.first[e] + groups.first(g);
        panels::with_rows(groups.size(g), [&](auto size) {
          panels::tile<size> t;
          panels::gated_tile<size>(t, gate.panel_data(e, p), up.panel_data(e, p), gathered + row * d, d);
          alignas(64) float values[panels::panel];
          for (int m = 0; m < size; ++m) {
            panels::write(t, m, values, panels::panel);
            for (std::int64_t c = 0; c < count; ++c) hidden[row * f + (first + c) * size + m] = values[c];
          }
        });
      }
    });
    exec.parallel(n * down.panels(), exec.grain(n * down.panels()), [&](std::int64_t item, int) {
      std::int64_t const e = item / down.panels(), p = item % down.panels();
      std::int64_t const first = p * panels::panel, count = std::min<std::int64_t>(panels::panel, d - first);
      panels::row_groups const groups = groups_of(plan, e);
      for (std::int64_t g = 0; g < groups.count(); ++g) {
        std::int64_t const row = plan.first[e] + groups.first(g);
        panels::with_rows(groups.size(g), [&](auto size) {
          panels::tile<size> t;
          t.start();
          panels::multiply<size>(t, down.panel_data(e, p), panels::panel, hidden + row * f, f);
          for (int m = 0; m < size; ++m) panels::write(t, m, outputs.row(row + m) + first, count);
        });
      }
    });
    exec.parallel(x.rows(), exec.grain(x.rows()), [&](std::int64_t t, int) {
      simd::for_each_packet(d, [&](std::int64_t c, std::int64_t count) {
        simd::packet sum = simd::set(0.0f);
        for (std::int64_t j = 0; j < choices; ++j)
          sum = simd::fma(simd::set(plan.weight(t, j)), simd::load(outputs.row(plan.place(t, j)) + c, count), sum);
        simd::store(y.row(t) + c, sum, count);
      });
    });
  }

 private:
  static panels::row_groups groups_of(routing<float> const& plan, std::int64_t e) { return {plan.first[e + 1] - plan.first[e]}; }
};

}  // namespace plait::inline PLAIT_ABI::ops
