// The roofline of a device, measured: its rates of products and copies.
// Errors: those of the device's memory
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/place.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/half.hpp>
#include <plait/exec/device.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// The bytes to read until earlier data have left the device's caches: eight times the last
/// level's, an eighth of the memory at most.
/// Test: tests/unit/cuda/benchmark_test.cu
template <on_device Exec>
std::int64_t cold_bytes(Exec& exec) {
  return std::min(8 * exec.runtime.last_level_cache_bytes(), exec.runtime.memory_bytes() / 8);
}

namespace detail {

/// The least of `runs` times of work(), after one untimed run.
template <class Exec, class Work>
double best_device_seconds(Exec& exec, int runs, Work const& work) {
  double best = exec.runtime.seconds(work);
  best = 1e30;
  for (int i = 0; i < runs; ++i) best = std::min(best, exec.runtime.seconds(work));
  return best;
}

template <class X, class Exec>
double probe_products(Exec& exec) {
  double const room = static_cast<double>(exec.runtime.probe_bytes()) / (3 * sizeof(X));
  std::int64_t const n = static_cast<std::int64_t>(
      std::bit_floor(static_cast<std::uint64_t>(std::max(1.0, std::sqrt(room)))));
  using memory = typename Exec::memory;
  // Random numbers: zeros would take a device less power, and so less time.
  placed<X, memory> const x(bench::matrix<X>(n, n, 1));
  placed<X, memory> const w(bench::matrix<X>(n, n, 2));
  placed<X, memory> y(n, n);
  exec::matrix_product<X, X> const product{
      x.read().data(), n, w.read().data(), n, y.view().data(), n, n, n, n};
  return 2.0 * static_cast<double>(n * n * n) /
         best_device_seconds(exec, 10, [&] { exec.gemm(product); });
}

template <class Exec>
double probe_copy(Exec& exec) {
  using memory = typename Exec::memory;
  using bytes = typename memory::template buffer<std::byte>;
  std::int64_t const n = exec.runtime.probe_bytes() / 2;
  bytes const from(n);
  bytes to(n);
  return 2.0 * static_cast<double>(n) /
         best_device_seconds(exec, 10, [&] { memory::copy(from.data(), n, to.data()); });
}

}  // namespace detail

/// Measures the roofline of a device, in the device's own time: the best of ten products of two
/// square matrices by the device's library, in f32 for f32 and else in bf16, and the best of ten
/// copies of its memory.
/// Equation: flops = 2 n^3 / seconds, n the largest power of two for which three matrices take no
///   more than the runtime's `probe_bytes`; bytes = (read + written) / seconds, of a copy of half
///   of them
/// Errors: those of the device's memory
/// Cost: on CUDA `probe_bytes` is 1 GiB, a sixteenth of the memory at most, and the matrices are
///   made on the host: about a second
/// Test: tests/unit/benchmark/device_register_test.cpp
template <on_device Exec>
roofline probe_roofline(Exec& exec, dtype products) {
  double const flops = products == dtype::f32 ? detail::probe_products<float>(exec)
                                              : detail::probe_products<bf16_t>(exec);
  return {.flops = flops, .bytes = detail::probe_copy(exec)};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
