// linear on a device. Few rows: all outputs in one launch (few_rows.hpp). Many rows: the library
// (many_rows.hpp), then the bias. f32 weights, the router's among them: dot_rows.hpp.
#pragma once

#include <plait/ops/cuda/dot_rows.hpp>
#include <plait/ops/cuda/launch_few_rows.hpp>
#include <plait/ops/cuda/many_rows.hpp>
#include <plait/ops/cuda/update_rows.hpp>
#include <plait/ops/linear.hpp>

namespace plait::inline PLAIT_ABI::ops {

/// A bias on the device, or null. A matrix stands for a bias that is not there (ops/linear.hpp).
/// Cost: few is up to 64 rows of bf16 weights and up to 256 of int8
/// Test: tests/ops/cuda/linear_test.cpp
template <class Memory>
float const* values_of(device_vector<Memory> const* bias) {
  return bias != nullptr ? bias->there() : nullptr;
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
  static void run(device& exec, matrix_view<T const> x,
                  std::array<linear_output<Y, device_matrix<Stored, Memory>, Vector>, Outputs> const& outputs) {
    if (x.rows() == 0) return;
    if constexpr (Stored == dtype::f32) {
      for (auto const& o : outputs) dot_rows(exec, x, o.weight->there(), values_of(o.bias), o.y);
    } else {
      arena::frame const scratch(exec.workspace);
      if (x.rows() <= most_few_rows<Stored>) {
        static_assert(Outputs <= kernels::few_rows_args<Stored>::most_outputs);
        auto const rows = aligned_rows(exec, x);
        kernels::few_rows_args<Stored> args;
        args.count = Outputs, args.y_is_float = std::is_same_v<Y, float>;
        args.x = rows.data(), args.x_stride = rows.stride(), args.rows = x.rows();
        for (std::size_t i = 0; i < Outputs; ++i) {
          auto const& o = outputs[i];
          args.outputs[i] = {o.weight->there(), values_of(o.bias), o.y.data(), o.y.stride()};
        }
        launch_few_rows<Stored, false>(exec, args, x.rows());
      } else {
        for (auto const& o : outputs) {
          arena::frame const its_scratch(exec.workspace);
          many_rows<Stored>(exec, o.weight->there()).multiply(exec, x, o.weight->there(), o.y);
          if (o.bias != nullptr) update_rows<kernels::update::add>(exec, matrix_view<float const>(values_of(o.bias), o.y.rows(), o.y.cols(), 0), o.y);
        }
      }
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
