// The device under test: emulated, or, compiled by nvcc, the GPU of this machine (support/gpu.hpp).
#pragma once

#if defined(__CUDACC__)
#include <support/gpu.hpp>
#else
#include <plait/emulator/exec.hpp>

namespace test {

using device_memory = plait::emulator::memory;
using device_runtime = plait::emulator::runtime;
template <plait::precision P = plait::f32>
using device = plait::exec::emulated<P>;
/// Whether a data race is a report; then the order of threads is not looked at.
inline constexpr bool finds_races = plait::emulator::thread_sanitizer;

}  // namespace test
#endif
