// How fast a device computes and copies: the two rates of its roofline, measured.
// Equation: the peak: 2 n^3 operations of a product of two square matrices by the device's library,
//   in bf16 or f32, n a power of two; three of them take at most the runtime's `probe_bytes`. The
//   bandwidth: a copy of half of these bytes, those read and those written added up. The best of
//   ten each
// Shapes: units a second. `cold_bytes`: eight times the device's last-level cache, an eighth of its
//   memory at most
// Errors: those of the device's memory
// Cost: on CUDA `probe_bytes` is 1 GiB, a sixteenth of the memory at most, and the matrices are
//   made on this machine: about a second
// Test: tests/unit/benchmark/device_register_test.cpp
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

/// So many bytes that next to nothing of them is left in the device's caches once they have been
/// read: eight times the last level's, an eighth of the memory at most.
template <on_device Exec>
std::int64_t cold_bytes(Exec& exec) {
  return std::min(8 * exec.runtime.last_level_cache_bytes(), exec.runtime.memory_bytes() / 8);
}

namespace detail {

/// The best of `runs` times of work(), after one that is not counted.
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
  placed<X, memory> const x(bench::matrix<X>(n, n, 1)),
      w(bench::matrix<X>(n, n, 2));  // zeros would cost a device less power, and time
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

/// Measures both rates of a device in the time of the device itself: a product of two square
/// matrices by the device's library, in bf16 or, for f32, in f32; and a copy of its memory, bytes
/// read and bytes written added up. Each is as large as the runtime's probe_bytes allow, and the
/// best of ten. plait::error where memory runs out.
template <on_device Exec>
roofline probe_roofline(Exec& exec, dtype products) {
  double const flops = products == dtype::f32 ? detail::probe_products<float>(exec)
                                              : detail::probe_products<bf16_t>(exec);
  return {.flops = flops, .bytes = detail::probe_copy(exec)};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
