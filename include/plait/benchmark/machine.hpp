// Properties of the machine or device that a benchmark runs on: memory, caches, clock, roofline.
// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/check.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/probe_device.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/policy/precision.hpp>

// Under nvcc Eigen has no vector registers and the CPU no kernels: only devices are measured.
#if !defined(__CUDACC__)
#include <plait/benchmark/probe.hpp>
#endif

#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

template <class Exec>
constexpr bool has_types = requires {
  { Exec::types } -> std::convertible_to<precision>;
};
template <class Exec>
constexpr bool is_made_for_threads =
    std::is_constructible_v<Exec, int> || std::is_default_constructible_v<Exec>;
template <class Exec>
constexpr bool is_measurable = has_types<Exec>&& is_made_for_threads<Exec>;

/// The requirements on the execution policy of a registration.
template <class Exec>
struct measurable {
  static_assert(has_types<Exec>,
                "plait: a benchmark counts bytes by its execution policy's precision: static "
                "constexpr plait::precision types");
  static_assert(
      is_made_for_threads<Exec>,
      "plait: a benchmark makes its execution policy from a number of threads, or from nothing");
};

template <class Exec>
std::unique_ptr<Exec> make_exec([[maybe_unused]] int threads) {
  if constexpr (!on_device<Exec> && std::is_constructible_v<Exec, int>)
    return std::make_unique<Exec>(threads);
  else
    return std::make_unique<Exec>();
}

template <class Exec>
int threads_in([[maybe_unused]] Exec const& exec) {
  if constexpr (on_device<Exec>)
    return 1;
  else
    return exec.threads();
}

template <class Exec>
std::int64_t bytes_to_be_cold(Exec& exec) {
  if constexpr (on_device<Exec>)
    return cold_bytes(exec);
  else
    return cold_bytes(exec.threads());
}

/// Bytes of the memory that holds the copies.
template <class Exec>
std::int64_t memory_of([[maybe_unused]] Exec& exec) {
  if constexpr (on_device<Exec>)
    return exec.runtime.memory_bytes();
  else
    return machine_memory();
}

/// The type of the fastest products of the execution policy.
template <class Exec>
constexpr dtype products_of() {
  if constexpr (on_device<Exec>)
    return Exec::types.weights == dtype::f32 ? dtype::f32 : dtype::bf16;
  else
    return arithmetic_of(Exec::types);
}

/// The bound of benchmark/check.hpp for a result of this execution policy.
template <class Exec>
double tolerance_of([[maybe_unused]] bool keeps_keys, [[maybe_unused]] std::int64_t layers,
                    [[maybe_unused]] bool routes) {
  if constexpr (on_device<Exec>)
    return device_tolerance(Exec::types, layers, routes);
  else
    return tolerance(Exec::types, keeps_keys);
}

/// Seconds of run(): of the wall clock; on a device from the start of the first kernel to the end
/// of the last.
template <class Exec, class Run>
double seconds_of([[maybe_unused]] Exec& exec, Run const& run) {
  if constexpr (on_device<Exec>) {
    return exec.runtime.seconds(run);
  } else {
    using clock = std::chrono::steady_clock;
    auto const start = clock::now();
    run();
    return std::chrono::duration<double>(clock::now() - start).count();
  }
}

/// The roofline, measured once per process for each number of threads and type of products.
template <class Exec>
roofline const& roofline_of_run(Exec& exec) {
  constexpr dtype products = products_of<Exec>();
  static std::map<std::pair<int, dtype>, roofline> known;
  auto const [at, is_new] = known.try_emplace({threads_in(exec), products});
  if (is_new) at->second = probe_roofline(exec, products);
  return at->second;
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
