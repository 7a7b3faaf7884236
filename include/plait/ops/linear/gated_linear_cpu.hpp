// gated_linear on the CPU: panels of gate and up with the same rows are multiplied one after the
// other, then combined as silu(gate) * up.
// Equation: as cpu/panel_product.hpp
// Shapes: workspace: T K floats, none for one token in f32; less where activations are packed as
//   bf16 or int8
// Cost: a work item is one panel with one run of row groups (cpu/panel_product.hpp)
// Test: tests/unit/ops/linear/gated_linear_test.cpp, tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/linear/gated_linear.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// gated_linear for one type of stored weights and one of packed activations.
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
#include <plait/ops/linear/multiply_gated_cpu.hpp>

PLAIT_NAMESPACE_BEGIN
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
