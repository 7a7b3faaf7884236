// CUDA's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cuda/runtime.cuh>
#include <plait/exec/device.hpp>
#include <plait/policy/precision.hpp>

PLAIT_NAMESPACE_BEGIN
namespace exec {

namespace detail {
/// nvcc 13.0 spells a type for the host compiler as it was first named, and cannot spell the
/// argument of an alias template ("'__T4' was not declared"). So the usual types are named first
/// here, as types and by the alias below; others are device<mine, cuda_runtime>.
using cuda_named = void(device<f32, cuda_runtime>, device<bf16, cuda_runtime>,
                        device<int8, cuda_runtime>, device<experts_int8, cuda_runtime>);
}  // namespace detail

/// Kernels on an NVIDIA device of compute capability 8.0 or newer, with weights as precision P
/// says: model<configs::jamba_v0_1, exec::cuda<int8>>. For a precision other than the four
/// constants write `device<mine, cuda_runtime>`: nvcc 13.0 cannot spell its type for the host
/// compiler.
///
/// Equation: kernels run in order on one stream, which is in order with CUDA's legacy default
///   stream. With `overlap` a kernel may begin to occupy the device before the previous one has
///   ended (programmatic dependent launch, from sm_90 on)
/// Errors: those of cuda_runtime (cuda/runtime.cuh)
/// Cost: in the steady state nothing is allocated, and only `copy_to_host` and `synchronize` wait
///   for the device
/// Test: tests/unit/cuda/runtime_test.cu, tests/unit/cuda/launch_test.cu
template <precision P = bf16>
using cuda = device<P, cuda_runtime>;

namespace detail {
using cuda_aliased = void(cuda<f32>, cuda<bf16>, cuda<int8>, cuda<experts_int8>);
}  // namespace detail

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
