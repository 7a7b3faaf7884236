// linear on a device. Few rows: all outputs in one launch (gpu/gemm/gemm_skinny.hpp). Many rows:
// the library's product (gpu/gemm/gemm.hpp), then the bias. f32 weights, the router's among them:
// gpu/gemm/gemm_f32.hpp.
// Cost: as linear.hpp. Few rows are up to 64 with bf16 weights and up to 256 with int8
// Test: tests/unit/ops/linear/linear_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/elementwise.hpp>
#include <plait/gpu/gemm/gemm.hpp>
#include <plait/gpu/gemm/gemm_f32.hpp>
#include <plait/gpu/gemm/launch_gemm_skinny.hpp>
#include <plait/ops/linear/linear.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The values of a bias on the device, or null. The overload for a matrix is that of an output
/// without a bias (linear.hpp).
template <class Memory>
float const* values_of(device_vector<Memory> const* bias) {
  return bias != nullptr ? bias->device_view() : nullptr;
}
template <dtype Stored, class Memory>
float const* values_of(device_matrix<Stored, Memory> const*) {
  return nullptr;
}

template <precision P, class Runtime>
struct linear_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <class Y, dtype Stored, class Memory, class Vector, std::size_t Outputs>
  static void run(
      device& exec, matrix_view<T const> x,
      std::array<linear_output<Y, device_matrix<Stored, Memory>, Vector>, Outputs> const& outputs) {
    if (x.rows() == 0) return;
    if constexpr (Stored == dtype::f32) {
      for (auto const& o : outputs)
        gemm_f32(exec, x, o.weight->device_view(), values_of(o.bias), o.y);
    } else {
      arena::frame const scratch(exec.workspace);
      if (x.rows() <= max_skinny_rows<Stored>) {
        static_assert(Outputs <= kernels::gemm_skinny_args<Stored>::max_outputs);
        auto const rows = aligned_rows(exec, x);
        kernels::gemm_skinny_args<Stored> args;
        args.count = Outputs;
        args.y_is_float = std::is_same_v<Y, float>;
        args.x = rows.data();
        args.x_stride = rows.stride();
        args.rows = x.rows();
        for (std::size_t i = 0; i < Outputs; ++i) {
          auto const& o = outputs[i];
          args.outputs[i] = {o.weight->device_view(), values_of(o.bias), o.y.data(), o.y.stride()};
        }
        launch_gemm_skinny<Stored, false>(exec, args, x.rows());
      } else {
        for (auto const& o : outputs) {
          arena::frame const output_scratch(exec.workspace);
          library_gemm<Stored>(exec, o.weight->device_view())
              .multiply(exec, x, o.weight->device_view(), o.y);
          if (o.bias != nullptr)
            update_rows<kernels::update::add>(
                exec, matrix_view<float const>(values_of(o.bias), o.y.rows(), o.y.cols(), 0), o.y);
        }
      }
    }
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
