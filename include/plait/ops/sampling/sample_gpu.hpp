// Sampling of the next tokens on a device: greedy, or from the softmax.
// Test: tests/unit/ops/sampling/sample_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/sampling/gpu/choose_drawn.hpp>
#include <plait/ops/sampling/gpu/choose_greedy.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Equation: ids[t] = argmax of row t, the first of equals, as sample_greedy (model/sample.hpp). A
///   NaN is chosen where it is the first value of the row, and never otherwise
/// Shapes: logits [T, V], V >= 1, ids [T], both in the device's memory
/// Cost: each logit read once
template <precision P, class Runtime>
void choose_greedy(exec::device<P, Runtime>& exec, matrix_view<float const> logits,
                   std::int32_t* ids) {
  exec.template launch<kernels::choose_greedy>({.x = logits.rows()}, {logits, logits.cols(), ids});
}

/// Equation: ids[t] is drawn from softmax(logits[t] / temperature): the first index at which the
///   sum of the weights exceeds uniform[t] times their total. Sums are f32, in an order that
///   depends on V alone. The greedy choice where temperature is 0 or a NaN is among the logits
/// Shapes: as choose_greedy; uniform [T] in [0, 1), in the device's memory; temperature >= 0
/// Cost: each logit read three times
template <precision P, class Runtime>
void choose_drawn(exec::device<P, Runtime>& exec, matrix_view<float const> logits,
                  float temperature, float const* uniform, std::int32_t* ids) {
  if (temperature == 0) return choose_greedy(exec, logits, ids);
  exec.template launch<kernels::choose_drawn>(
      {.x = logits.rows()}, {logits, logits.cols(), uniform, 1.44269504f / temperature, ids});
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
