// The emulator's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/emulator/runtime.hpp>
#include <plait/exec/device.hpp>
#include <plait/policy/precision.hpp>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Kernels of a device on the CPU, for models and for kernels of your own:
///   plait::model<config, exec::emulated<bf16>>
/// The public members of `runtime` are what a test sets and looks at (emulator/runtime.hpp).
///
/// It shows what a kernel computes, data races (clang++ -fsanitize=thread), accesses out of bounds
/// (-fsanitize=address), missing barriers (other results with another seed), uninitialized shared
/// memory (NaN). It does not show whether the hardware lays out mma's fragments as PTX says, how
/// long a kernel takes, or which values weakly ordered memory lets blocks of one launch see.
///
/// Cost: all threads of a launch on the calling thread, a switch per thread and barrier.
/// Test: tests/unit/exec/device_test.cpp, tests/unit/model/device_test.cpp, tests/unit/ops/cuda/
template <precision P = bf16>
using emulated = device<P, emulator::runtime>;

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
