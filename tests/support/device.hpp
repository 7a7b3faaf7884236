// The device under test: the emulator, or, compiled by nvcc, a GPU (support/gpu.hpp).
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
/// Whether ThreadSanitizer reports data races; then the order of threads is not varied.
inline constexpr bool finds_races = plait::emulator::thread_sanitizer;

}  // namespace test
#endif
