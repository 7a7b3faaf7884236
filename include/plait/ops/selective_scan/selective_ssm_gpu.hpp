// selective_ssm on a device: one launch where every sequence has one new token, otherwise by parts.
// A block of the launch takes 64 channels of up to 4 sequences.
// Equation: dt is rounded to T after its norm and after dt_proj, as between the ops; sums of
//   dt_proj are made in two halves of its columns
// Shapes: one launch with a rank up to 512 and N up to 64
// Cost: dt_proj read once per 4 sequences, the states read and written once, 128 bytes of one state
//   at a time
// Test: tests/unit/ops/selective_scan/selective_ssm_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/linear/linear_gpu.hpp>
#include <plait/ops/norm/inner_norms_gpu.hpp>
#include <plait/ops/selective_scan/gpu/ssm_step.hpp>
#include <plait/ops/selective_scan/selective_scan_gpu.hpp>
#include <plait/ops/selective_scan/selective_ssm.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct selective_ssm_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;

  template <class T, class Matrix, class Vector, class State>
  static void run(device& exec, sequences<T> const& seqs, ssm_input<T> const& in,
                  ssm_weights<Matrix, Vector, State> const& w, float eps, matrix_view<T> y) {
    using kernel = kernels::ssm_step<Matrix::type, T>;
    std::int64_t const rank = w.dt_proj->cols(), states = w.a_log->cols();
    if (seqs.longest != 1 || rank > kernel::max_rank || states > kernel::max_states)
      return selective_ssm_by_parts(exec, seqs, in, w, eps, y);
    exec.template launch<kernel>(
        {.x = (w.dt_proj->rows() + kernel::channels - 1) / kernel::channels,
         .y = (seqs.count + kernel::sequences_per_block - 1) / kernel::sequences_per_block},
        {seqs, in.u, in.z, matrix_view<T const>(in.selected), y, w.dt_norm->device_view(),
         w.b_norm->device_view(), w.c_norm->device_view(), w.dt_bias->device_view(),
         w.a_log->device_view(), w.d->device_view(), w.dt_proj->device_view(), states, eps});
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
