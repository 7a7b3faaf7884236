// linear_conv on a device: one launch where every sequence has one new token, otherwise linear,
// then conv_silu. The launch convolves columns of the product where it writes them.
// Equation: the product is rounded to T before the convolution, as between the ops
// Test: tests/unit/model/device_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/gemm/launch_gemm_skinny.hpp>
#include <plait/ops/linear/linear_gpu.hpp>
#include <plait/ops/short_conv/conv_silu_gpu.hpp>
#include <plait/ops/short_conv/linear_conv.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct linear_conv_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <dtype Stored, class Memory, class Vector>
  static void run(device& exec, sequences<T> const& seqs, matrix_view<T const> x,
                  linear_output<T, device_matrix<Stored, Memory>, Vector> const& uz,
                  device_vector<Memory> const& taps, device_vector<Memory> const* bias,
                  matrix_view<T> u) {
    if constexpr (Stored != dtype::f32)
      if (seqs.longest == 1 && seqs.count == x.rows() && x.rows() <= max_skinny_rows<Stored>) {
        arena::frame const scratch(exec.workspace);
        auto const rows = aligned_rows(exec, x);
        kernels::gemm_skinny_args<Stored> args;
        args.x = rows.data();
        args.x_stride = rows.stride();
        args.rows = x.rows();
        args.outputs[0] = {.weight = uz.weight->device_view(),
                           .bias = values_of(uz.bias),
                           .y = uz.y.data(),
                           .y_stride = uz.y.stride()};
        args.conv = {u.data(),           u.stride(),      u.cols(),   taps.cols(),
                     taps.device_view(), values_of(bias), seqs.state, seqs.state_offset};
        launch_gemm_skinny<Stored, false>(exec, args, x.rows());
        return;
      }
    linear(exec, x, uz);
    conv_silu(exec, seqs, matrix_view<T const>(uz.y.middle_cols(0, u.cols())), taps, bias, u);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
