// linear_conv on a device: one launch where every sequence has one token, else one op after the
// other. One launch where every sequence has one token: the product's columns that the convolution
// takes go through it where they are written.
// Equation: the product is rounded to T before it is the convolution's input, as between the ops
// Test: tests/model/device_test.cpp
#pragma once

#include <plait/ops/cuda/conv_silu.hpp>
#include <plait/ops/cuda/launch_few_rows.hpp>
#include <plait/ops/cuda/linear.hpp>
#include <plait/ops/linear_conv.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct linear_conv_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <dtype Stored, class Memory, class Vector>
  static void run(device& exec, sequences<T> const& seqs, matrix_view<T const> x,
                  linear_output<T, device_matrix<Stored, Memory>, Vector> const& uz, device_vector<Memory> const& taps,
                  device_vector<Memory> const* bias, matrix_view<T> u) {
    if constexpr (Stored != dtype::f32)
      if (seqs.longest == 1 && seqs.count == x.rows() && x.rows() <= most_few_rows<Stored>) {
        arena::frame const scratch(exec.workspace);
        auto const rows = aligned_rows(exec, x);
        kernels::few_rows_args<Stored> args;
        args.x = rows.data(), args.x_stride = rows.stride(), args.rows = x.rows();
        args.outputs[0] = {.weight = uz.weight->there(), .bias = values_of(uz.bias), .y = uz.y.data(), .y_stride = uz.y.stride()};
        args.conv = {u.data(), u.stride(), u.cols(), taps.cols(), taps.there(), values_of(bias), seqs.state, seqs.state_offset};
        launch_few_rows<Stored, false>(exec, args, x.rows());
        return;
      }
    linear(exec, x, uz);
    conv_silu(exec, seqs, matrix_view<T const>(uz.y.middle_cols(0, u.cols())), taps, bias, u);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
