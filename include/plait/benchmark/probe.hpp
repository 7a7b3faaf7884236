// The roofline of this machine, measured: its rates of arithmetic and of reading memory.
//
// ```cpp body
// plait::exec::cpu<> two_threads(2);
// plait::bench::roofline const measured = plait::bench::probe_roofline(two_threads);
// std::cout << plait::bench::explain<plait::configs::jamba_v0_1>(plait::f32, 1, 2048, measured);
// ```
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/names.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/buffer.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Bytes of the last-level cache, of a single one where the machine has several: from Linux's /sys,
/// else from the C library (which on some virtual machines adds up the processor's); 64 MiB where
/// both are silent.
/// Test: tests/unit/benchmark/probe_test.cpp
inline std::int64_t last_level_cache() {
  std::int64_t bytes = 0;
  char unit = 0;
  if (std::ifstream size("/sys/devices/system/cpu/cpu0/cache/index3/size"); size >> bytes >> unit)
    bytes *= unit == 'K' ? 1 << 10 : unit == 'M' ? 1 << 20 : 1;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  if (bytes <= 0) bytes = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
  return bytes > 0 ? bytes : std::int64_t{64} << 20;
}

/// The bytes to read until earlier data have left the caches: eight times the last level's for
/// every four threads, which may have one of their own; an eighth of the memory at most. Four times
/// are too few, since caches do not evict the oldest line first.
/// Test: tests/unit/benchmark/probe_test.cpp
inline std::int64_t cold_bytes(int threads) {
  return std::min(8 * last_level_cache() * ((threads + 3) / 4), machine_memory() / 8);
}

namespace detail {

/// Rounds of multiply-adds in registers, in as many independent chains as hide their latency.
struct f32_chains {
  static constexpr int chains = 12;
  static constexpr double flops_per_round = 2.0 * chains * simd::width;
  static constexpr char const* name = "f32 multiply-add";
  [[gnu::noinline]] static float run(std::int64_t rounds) {
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      simd::packet sum[chains] = {((void)I, simd::set(0.1f * static_cast<float>(I)))...};
      simd::packet const factor = simd::set(0.999f), term = simd::set(0.001f);
      for (std::int64_t i = 0; i < rounds; ++i) ((sum[I] = simd::fma(sum[I], factor, term)), ...);
      simd::packet all = sum[0];
      for (int i = 1; i < chains; ++i) all = simd::add(all, sum[i]);
      alignas(64) float lanes[simd::width];
      simd::store(lanes, all);
      return lanes[0];
    }
    (std::make_integer_sequence<int, chains>{});
  }
};

#if PLAIT_BF16_DOT
/// Pairs of bf16 products added to f32, by the instruction of plait's products.
struct bf16_chains {
  static constexpr int chains = 12;
  static constexpr double flops_per_round = 4.0 * chains * simd::width;
  static constexpr char const* name = simd::dot_bf16_name;
  /// Returns a lane of the sum of all chains: 2 * 0.25 per chain and round.
  [[gnu::noinline]] static float run(std::int64_t rounds) {
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      simd::packet sum[chains] = {((void)I, simd::set(0.0f))...};
      simd::integers const halves = simd::words(std::bit_cast<float>(0x3f003f00));
      for (std::int64_t i = 0; i < rounds; ++i)
        ((sum[I] = simd::dot_bf16(sum[I], halves, halves)), ...);
      for (int i = 1; i < chains; ++i) sum[0] = simd::add(sum[0], sum[i]);
      alignas(64) float lanes[simd::width];
      simd::store(lanes, sum[0]);
      return lanes[0];
    }
    (std::make_integer_sequence<int, chains>{});
  }
};
#else
using bf16_chains = f32_chains;
#endif

#if PLAIT_INT8_DOT
/// Hides from the compiler that words are the same in every round.
inline void launder(simd::integers& words) { __asm__ volatile("" : "+v"(words)); }

/// Quads of int8 products added to int32, by the instructions of plait's products. Where these are
/// several, a part of the work is done once for all rows or for both registers of a panel; the
/// chains have four rows and two registers, as the products do.
struct int8_chains {
  static constexpr int chains = simd::keeps_offset ? 12 : 8;
  static constexpr int rows = simd::keeps_offset ? 1 : 4;
  static constexpr double flops_per_round = 8.0 * chains * simd::width;
  static constexpr char const* name = simd::dot_int8_name;
  /// The sum that a round adds to each chain.
  static constexpr int step = 4 * (simd::keeps_offset ? 131 : 131 - 128) * -2;
  /// Returns a lane of the sum of all chains.
  [[gnu::noinline]] static float run(std::int64_t rounds) {
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      simd::byte_sum sum[chains] = {((void)I, simd::words(0.0f))...};
      simd::integers w[2], x[rows];
      for (simd::integers& words : w)
        words = simd::words(std::bit_cast<float>(0x83838383));  // 131 four times
      for (simd::integers& words : x)
        words = simd::words(std::bit_cast<float>(0xfefefefe));  // -2 four times
      for (std::int64_t i = 0; i < rounds; ++i) {
        for (simd::integers& words : w) launder(words);
        for (simd::integers& words : x) launder(words);
        ((sum[I] = simd::dot_int8(sum[I], w[I % 2], x[I / 2 % rows])), ...);
      }
      simd::packet all = simd::value(sum[0]);
      for (int i = 1; i < chains; ++i) all = simd::add(all, simd::value(sum[i]));
      alignas(64) float lanes[simd::width];
      simd::store(lanes, all);
      return lanes[0];
    }
    (std::make_integer_sequence<int, chains>{});
  }
};
#else
using int8_chains = f32_chains;
#endif

/// A lane of the sum of n floats, n a multiple of 8 registers; prefetches `ahead` floats ahead
/// unless that is 0.
template <int ahead>
[[gnu::noinline]] inline float read_all(float const* p, std::int64_t n) {
  constexpr int registers = 8;
  simd::packet sum[registers];
  for (auto& s : sum) s = simd::set(0.0f);
  for (std::int64_t i = 0; i < n; i += registers * simd::width)
    for (int j = 0; j < registers; ++j) {
      if constexpr (ahead > 0)
        if (j * simd::width % 16 == 0) __builtin_prefetch(p + i + j * simd::width + ahead);
      sum[j] = simd::add(sum[j], simd::load(p + i + j * simd::width));
    }
  for (int j = 1; j < registers; ++j) sum[0] = simd::add(sum[0], sum[j]);
  alignas(64) float lanes[simd::width];
  simd::store(lanes, sum[0]);
  return lanes[0];
}

/// The least of `runs` times of work(thread) on all threads at once, in seconds.
template <class Exec, class Work>
double best_seconds(Exec& exec, int runs, Work const& work) {
  using clock = std::chrono::steady_clock;
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    auto const start = clock::now();
    exec.parallel(exec.threads(), [&](std::int64_t item, int) { work(item); });
    best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
  }
  return best;
}

/// Keeps the compiler from removing the computation of a result.
inline void use(float x) {
  [[maybe_unused]] static float volatile sink;
  sink = x;
}

template <class Chains, class Exec>
double probe_flops(Exec& exec) {
  std::int64_t rounds = 1000;
  auto const seconds = [&](int runs) {
    return best_seconds(exec, runs, [&](std::int64_t) { use(Chains::run(rounds)); });
  };
  while (seconds(4) < 4e-3 && rounds < (std::int64_t{1} << 40)) rounds *= 2;
  return Chains::flops_per_round * double(rounds) * exec.threads() / seconds(40);
}

template <class Exec>
double probe_bytes(Exec& exec) {
  constexpr std::int64_t step = 8 * 16;  // floats: a whole number of registers and of cache lines
  std::int64_t const threads = exec.threads();
  std::int64_t const each =
      std::max<std::int64_t>(
          1, cold_bytes(exec.threads()) / std::int64_t{sizeof(float)} / threads / step) *
      step;
  buffer<float> data(each * threads);
  for (std::int64_t i = 0; i < data.size(); ++i)
    data[i] = 1;  // pages never written may all be the kernel's one zero page
  auto const pass = [&](auto ahead) {
    return best_seconds(exec, 8, [&](std::int64_t item) {
      use(read_all<decltype(ahead)::value>(data.data() + item * each, each));
    });
  };
  // With hardware prefetching alone, and with the prefetch hints of plait's kernels.
  double const seconds =
      std::min(pass(std::integral_constant<int, 0>{}), pass(std::integral_constant<int, 768>{}));
  return double(each * threads) * sizeof(float) / seconds;
}

}  // namespace detail

/// The instruction that the peak of products of this type is measured with: its dot product, or the
/// f32 multiply-add where the instruction set has none.
/// Test: tests/unit/benchmark/probe_test.cpp
inline char const* peak_instruction(dtype products) {
  return products == dtype::bf16   ? detail::bf16_chains::name
         : products == dtype::int8 ? detail::int8_chains::name
                                   : detail::f32_chains::name;
}

/// Measures the roofline with the threads of `exec`. The peak is the best of 40 runs of
/// multiply-adds in registers, of the given type of products: 12 independent chains (8 where int8
/// dot products take several instructions). The bandwidth is the best of 8 passes over `cold_bytes`
/// of memory, with or without prefetch hints; one thread touches the data first. Without fused
/// multiply-add in the build, the peak is that of separate products and sums. Other load on the
/// machine lowers both rates.
/// Errors: those of core/buffer.hpp
/// Cost: about half a second, and `cold_bytes` of memory
/// Test: tests/unit/benchmark/probe_test.cpp
template <class Exec>
roofline probe_roofline(Exec& exec, dtype products = dtype::f32) {
  double const flops = products == dtype::bf16   ? detail::probe_flops<detail::bf16_chains>(exec)
                       : products == dtype::int8 ? detail::probe_flops<detail::int8_chains>(exec)
                                                 : detail::probe_flops<detail::f32_chains>(exec);
  return {.flops = flops, .bytes = detail::probe_bytes(exec)};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
