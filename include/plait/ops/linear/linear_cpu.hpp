// linear on the CPU: the panels of all outputs form one list of work items.
// Equation: as cpu/panel_product.hpp; a chain begins with the bias
// Shapes: workspace: T K floats, none for one token in f32; less where activations are packed as
//   bf16 or int8
// Cost: a work item is one panel of any output with one run of row groups (cpu/panel_product.hpp).
//   With at most 16 panels and many rows it is one run of row groups with all panels: its thread
//   packs the rows and multiplies them while they are in its L2 cache
// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/linear/linear.hpp>

#include <array>
#include <span>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// One output of linear_cpu. The bias has a value per row of the weight, or is null.
template <dtype Stored>
struct panel_output {
  matrix_view<float> y;
  panel_matrix<Stored> const* weight = nullptr;
  float const* bias = nullptr;
};

/// linear for one type of stored weights and one of packed activations.
template <dtype Stored, dtype Activations>
struct linear_cpu {
  static void run(exec::host& exec, matrix_view<float const> x,
                  std::span<panel_output<Stored> const> outputs);
};

template <precision P>
struct linear_op<exec::cpu<P>> {
  template <dtype Stored, class Vector, std::size_t Outputs>
  static void run(
      exec::cpu<P>& exec, matrix_view<float const> x,
      std::array<linear_output<float, panel_matrix<Stored>, Vector>, Outputs> const& outputs) {
    std::array<panel_output<Stored>, Outputs> all;
    for (std::size_t i = 0; i < Outputs; ++i)
      all[i] = {outputs[i].y, outputs[i].weight, bias_values(outputs[i].bias)};
    linear_cpu<Stored, activation_type(Stored, exec::cpu<P>::compute)>::run(exec, x, all);
  }

 private:
  static float const* bias_values(channel_tensor const* bias) {
    return bias != nullptr ? bias->column(0) : nullptr;
  }
  template <dtype Stored>
  static float const* bias_values(panel_matrix<Stored> const*) {
    return nullptr;
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/panel_product.hpp>

#include <algorithm>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <dtype Stored, dtype Activations>
void linear_cpu<Stored, Activations>::run(exec::host& exec, matrix_view<float const> x,
                                          std::span<panel_output<Stored> const> outputs) {
  constexpr std::int64_t max_items_per_run = 16;
  auto const multiply = [](panel_output<Stored> const& output, std::int64_t item,
                           panels::packed_rows<Activations> const& packed,
                           panels::group_runs const& runs, std::int64_t run) {
    panels::multiply_item<Stored, Activations>(*output.weight, 0, item, packed, 0, runs, run,
                                               output.bias, output.y);
  };
  if (x.rows() == 0) return;
  arena::frame const scratch(exec.workspace);
  std::int64_t total_items = 0;
  for (auto const& output : outputs)
    total_items += panels::items<Stored, Activations>(*output.weight);
  panels::row_groups const groups{x.rows(), panels::max_rows(Activations)};
  if (total_items <= max_items_per_run && groups.count() >= 4 * exec.threads()) {
    // Too few columns to pay for packing all rows first and reading them back from memory: each
    // thread packs a run of rows and multiplies it while it is in the L2 cache.
    panels::packed_rows<Activations> const packed(exec, x.rows(), x.cols());
    std::int64_t const group_bytes = panels::max_rows(Activations) * packed.words_per_row * 4;
    panels::group_runs const runs{
        groups,
        std::clamp<std::int64_t>((std::int64_t{768} << 10) / group_bytes, 1,
                                 std::min<std::int64_t>(panels::group_runs::max_groups,
                                                        groups.count() / (4 * exec.threads())))};
    exec.parallel(runs.count(), [&](std::int64_t run, int) {
      for (std::int64_t g = runs.first(run); g < runs.end(run); ++g)
        panels::pack_group<Activations>(x, groups, g, packed);
      for (auto const& output : outputs)
        for (std::int64_t item = 0; item < panels::items<Stored, Activations>(*output.weight);
             ++item)
          multiply(output, item, packed, runs, run);
    });
    return;
  }
  auto const packed = panels::pack_rows<Activations>(exec, x);
  panels::group_runs const runs{groups};
  exec.parallel(runs.count() * total_items, exec.grain(runs.count() * total_items),
                [&](std::int64_t index, int) {
                  std::int64_t item = index % total_items;
                  for (auto const& output : outputs) {
                    std::int64_t const items = panels::items<Stored, Activations>(*output.weight);
                    if (item < items)
                      return multiply(output, item, packed, runs, index / total_items);
                    item -= items;
                  }
                });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
