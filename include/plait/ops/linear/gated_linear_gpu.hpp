// gated_linear on a device. Few rows: one launch, in which a warp has the same rows of gate and up.
// Many rows: two products by the library, rounded to bf16, then SwiGLU.
// Cost: as linear_gpu.hpp; workspace for many rows: T F values
// Test: tests/unit/ops/linear/gated_linear_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/elementwise.hpp>
#include <plait/gpu/gemm/gemm.hpp>
#include <plait/gpu/gemm/gemm_f32.hpp>
#include <plait/gpu/gemm/launch_gemm_skinny.hpp>
#include <plait/ops/linear/gated_linear.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct gated_linear_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <dtype Stored, class Memory>
  static void run(device& exec, matrix_view<T const> x, device_matrix<Stored, Memory> const& gate,
                  device_matrix<Stored, Memory> const& up, matrix_view<T> y) {
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    if constexpr (Stored == dtype::f32) {
      auto const gates = exec.template matrix<T>(x.rows(), y.cols());
      gemm_f32(exec, x, gate.device_view(), nullptr, gates);
      gemm_f32(exec, x, up.device_view(), nullptr, y);
      update_rows<kernels::update::gate>(exec, gates, y);
    } else if (x.rows() <= max_skinny_rows<Stored>) {
      auto const rows = aligned_rows(exec, x);
      kernels::gemm_skinny_args<Stored> args;
      args.up = up.device_view();
      args.x = rows.data();
      args.x_stride = rows.stride();
      args.rows = x.rows();
      args.outputs[0] = {gate.device_view(), nullptr, y.data(), y.stride(), y.cols()};
      launch_gemm_skinny<Stored, true>(exec, args, x.rows());
    } else {
      auto const gates = exec.template matrix<T>(x.rows(), y.cols());
      library_gemm<Stored> const product(exec, gate.device_view());
      product.multiply(exec, x, gate.device_view(), gates);
      product.multiply(exec, x, up.device_view(), y);
      update_rows<kernels::update::gate>(exec, gates, y);
    }
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
