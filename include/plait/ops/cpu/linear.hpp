// linear on the CPU.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/panel_product.hpp>
#include <plait/ops/linear.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct linear_op<exec::cpu<P>> {
  template <dtype Stored, class Vector, std::size_t Outputs>
  static void run(exec::cpu<P>& exec, matrix_view<float const> x,
                  std::array<linear_output<float, panel_matrix<Stored>, Vector>, Outputs> const& outputs) {
    constexpr dtype activations = activation_type(Stored, exec::cpu<P>::compute);
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    auto const packed = panels::pack_rows<activations>(exec, x);
    std::int64_t total = 0;
    for (auto const& output : outputs) total += panels::items<Stored, activations>(*output.weight);
    panels::row_groups const groups{x.rows(), panels::max_rows(activations)};
    panels::group_runs const runs{groups};
    exec.parallel(runs.count() * total, exec.grain(runs.count() * total), [&](std::int64_t item, int) {
      std::int64_t const run = item / total;
      std::int64_t p = item % total;
      for (auto const& output : outputs) {
        if (std::int64_t const here = panels::items<Stored, activations>(*output.weight); p >= here) {
          p -= here;
          continue;
        }
        panels::multiply_item<Stored, activations>(*output.weight, 0, p, packed, 0, groups, runs.first(run), runs.end(run),
                                                   bias_values(output.bias),
                                                   [&](std::int64_t g, auto const& t, std::int64_t column, std::int64_t count) {
                                                     for (int m = 0; m < static_cast<int>(std::size(t.sum)); ++m)
                                                       t.write(m, output.y.row(groups.first(g) + m) + column, count);
                                                   });
        return;
      }
    });
  }

 private:
  static float const* bias_values(channel_tensor const* bias) { return bias != nullptr ? bias->column(0) : nullptr; }
  template <dtype Stored>
  static float const* bias_values(panel_matrix<Stored> const*) {
    return nullptr;
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
