// gated_linear on a device. Few rows: one launch, in which a warp has the same rows of gate and up.
// Many rows: two products by the library, rounded to bf16, and SwiGLU.
// Cost: as linear.hpp; workspace: many rows: T F values
// Test: tests/ops/cuda/gated_linear_test.cpp
#pragma once

#include <plait/ops/cuda/dot_rows.hpp>
#include <plait/ops/cuda/launch_few_rows.hpp>
#include <plait/ops/cuda/many_rows.hpp>
#include <plait/ops/cuda/update_rows.hpp>
#include <plait/ops/gated_linear.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct gated_linear_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <dtype Stored, class Memory>
  static void run(device& exec, matrix_view<T const> x, device_matrix<Stored, Memory> const& gate, device_matrix<Stored, Memory> const& up,
                  matrix_view<T> y) {
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    if constexpr (Stored == dtype::f32) {
      auto const gates = exec.template matrix<T>(x.rows(), y.cols());
      dot_rows(exec, x, gate.there(), nullptr, gates);
      dot_rows(exec, x, up.there(), nullptr, y);
      update_rows<kernels::update::gate>(exec, gates, y);
    } else if (x.rows() <= most_few_rows<Stored>) {
      auto const rows = aligned_rows(exec, x);
      kernels::few_rows_args<Stored> args;
      args.up = up.there(), args.x = rows.data(), args.x_stride = rows.stride(), args.rows = x.rows();
      args.outputs[0] = {gate.there(), nullptr, y.data(), y.stride(), y.cols()};
      launch_few_rows<Stored, true>(exec, args, x.rows());
    } else {
      auto const gates = exec.template matrix<T>(x.rows(), y.cols());
      many_rows<Stored> const product(exec, gate.there());
      product.multiply(exec, x, gate.there(), gates);
      product.multiply(exec, x, up.there(), y);
      update_rows<kernels::update::gate>(exec, gates, y);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
