// The emulator's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/emulator/runtime.hpp>
#include <plait/exec/device.hpp>
#include <plait/policy/precision.hpp>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Kernels of a device on the CPU, for models and for user kernels: `plait::model<config,
/// exec::emulated<bf16>>`. A test sets and reads the public members of `runtime`
/// (emulator/runtime.hpp).
///
/// It shows the results of a kernel, data races (clang++ -fsanitize=thread), accesses out of bounds
/// (-fsanitize=address), missing barriers (results that depend on the seed) and uninitialized
/// shared memory (NaN). It does not show whether the hardware lays out the fragments of mma as PTX
/// specifies, the time of a kernel, or which values weakly ordered memory lets blocks of one launch
/// see.
///
/// Cost: all threads of a launch run on the calling thread, one switch per thread and barrier
/// Test: tests/unit/exec/device_test.cpp, tests/unit/model/device_test.cpp, tests/unit/ops/cuda/
template <precision P = bf16>
using emulated = device<P, emulator::runtime>;

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
