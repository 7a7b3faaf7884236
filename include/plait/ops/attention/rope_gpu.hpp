// rope on a device: one launch per matrix, a block per token and sequence, a thread per pair of
// dimensions in every head.
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/rope.hpp>
#include <plait/ops/attention/rope.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct rope_op<exec::device<P, Runtime>> {
  template <class T, std::size_t N>
  static void run(exec::device<P, Runtime>& exec, sequences<T> const& seqs, std::int64_t dim,
                  float theta, std::array<matrix_view<T>, N> const& xs) {
    for (auto const& x : xs)
      exec.template launch<kernels::rope<T>>({.x = seqs.longest, .y = seqs.count},
                                             {seqs, x, x.cols(), dim, theta});
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
