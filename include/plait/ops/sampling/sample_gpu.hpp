// Choosing the next tokens on a device: greedily, or by chance. Choosing the next tokens where the
// logits are.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/sampling/gpu/sample.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// ids[t] = the index of the largest logit of row t, the first of equals, as sample_greedy
/// (model/sample.hpp): a NaN is chosen where it is the first of the row, and never otherwise.
/// logits [T, V], V >= 1; logits and ids [T] are in the device's memory. Reads each logit once.
template <precision P, class Runtime>
void choose_greedy(exec::device<P, Runtime>& exec, matrix_view<float const> logits,
                   std::int32_t* ids) {
  exec.template launch<kernels::choose_greedy>({.x = logits.rows()}, {logits, logits.cols(), ids});
}

/// ids[t] drawn from softmax(logits[t] / temperature): the first index at which the sum of the
/// weights exceeds uniform[t] in [0, 1) times all of it. Sums are f32, in an order that depends on
/// V alone. The greedy choice where temperature is 0 (it must not be negative), or where a NaN is
/// among the logits. Shapes and places as above, uniform [T] is in the device's memory too. Reads
/// each logit three times.
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
