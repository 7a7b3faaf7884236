// What `register_layer` and `register_model` share: the work that is kept between calls, the
// roofline of the run, timing, counters.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/probe_device.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/error.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/policy/precision.hpp>

#if !defined(__CUDACC__)  // Eigen has no registers under nvcc, and the CPU no kernels: only devices
                          // are measured there
#include <plait/benchmark/probe.hpp>
#endif

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

/// Google Benchmark calls a function several times until it has run long enough, and building and
/// checking a model each time would take longer than timing it. One piece of work is kept, the
/// last, so that no more memory is used than that needs.
struct kept_work {
  std::string key;
  std::shared_ptr<void> work;
};
inline kept_work& kept() {
  static kept_work one;
  return one;
}
template <class Work, class Make>
Work& keep(std::string const& key, Make const& make) {
  if (kept().key != key || !kept().work) {
    kept().work.reset();  // before the next is made
    kept().work = make();
    kept().key = key;
  }
  return *static_cast<Work*>(kept().work.get());
}

template <class Exec>
constexpr bool has_types = requires {
  { Exec::types } -> std::convertible_to<precision>;
};
template <class Exec>
constexpr bool is_made_for_threads =
    std::is_constructible_v<Exec, int> || std::is_default_constructible_v<Exec>;

/// What every registration asks of its execution policy.
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

// What a device answers otherwise than this machine.
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
/// Of where copies of the weights are.
template <class Exec>
std::int64_t memory_of([[maybe_unused]] Exec& exec) {
  if constexpr (on_device<Exec>)
    return exec.runtime.memory_bytes();
  else
    return machine_memory();
}
/// What the fastest products are made of.
template <class Exec>
constexpr dtype products_of() {
  if constexpr (on_device<Exec>)
    return Exec::types.weights == dtype::f32 ? dtype::f32 : dtype::bf16;
  else
    return arithmetic_of(Exec::types);
}
template <class Exec>
double tolerance_of([[maybe_unused]] bool keeps_keys, [[maybe_unused]] std::int64_t layers,
                    [[maybe_unused]] bool routes) {
  if constexpr (on_device<Exec>)
    return device_tolerance(Exec::types, layers, routes);
  else
    return tolerance(Exec::types, keeps_keys);
}
template <class Exec, class Call>
double seconds_of([[maybe_unused]] Exec& exec, Call const& call) {
  if constexpr (on_device<Exec>) {
    return exec.runtime.seconds(call);
  } else {
    using clock = std::chrono::steady_clock;
    auto const start = clock::now();
    call();
    return std::chrono::duration<double>(clock::now() - start).count();
  }
}

/// Measured once a process for each number of threads and type of products, when it is first
/// needed.
template <class Exec>
roofline const& roofline_of_run(Exec& exec) {
  constexpr dtype products = products_of<Exec>();
  static std::map<std::pair<int, dtype>, roofline> known;
  auto const [at, is_new] = known.try_emplace({threads_in(exec), products});
  if (is_new) at->second = probe_roofline(exec, products);
  return at->second;
}

/// Tables that run prints when everything has been measured, by the name of their benchmark:
/// repetitions replace each other.
inline std::vector<std::pair<std::string, explanation>>& tables() {
  static std::vector<std::pair<std::string, explanation>> all;
  return all;
}

inline void keep_table(std::string const& name, explanation table) {
  for (auto& [known, kept_table] : tables())
    if (known == name) {
      kept_table = std::move(table);
      return;
    }
  tables().emplace_back(name, std::move(table));
}

inline std::string text_of_bytes(double bytes) {
  return bytes < 1e6   ? number(bytes / 1e3, "%.1f kB")
         : bytes < 1e9 ? number(bytes / 1e6, "%.1f MB")
                       : number(bytes / 1e9, "%.2f GB");
}

/// "name/f32/tokens:16/...", the way Google Benchmark writes arguments.
class point_name {
 public:
  point_name(std::string const& name, precision const& types) {
    text_.append(name).append("/").append(name_of(types));
  }
  point_name& add(char const* what, std::int64_t value) { return add(what, std::to_string(value)); }
  point_name& add(char const* what, std::string const& value) {
    text_.append("/").append(what).append(":").append(value);
    return *this;
  }
  std::string const& text() const { return text_; }

 private:
  std::string text_;
};

/// Refuses what no call can be.
inline void check_range(std::string const& name, char const* what,
                        std::vector<std::int64_t> const& values, std::int64_t least,
                        std::int64_t most) {
  if (values.empty())
    throw error("register " + name + ": " + what +
                " is an empty list, so that there is nothing to measure");
  for (std::int64_t const v : values)
    if (v < least || v > most)
      throw error("register " + name + ": " + what + " is between " + std::to_string(least) +
                  " and " + std::to_string(most) + ", not " + std::to_string(v));
}
template <class Exec>
std::vector<int> threads_of(std::string const& name, std::vector<int> const& asked) {
  for (int const n : asked)
    if (n < 1 || n > 4096)
      throw error("register " + name + ": threads is between 1 and 4096, not " + std::to_string(n));
  if constexpr (on_device<Exec>) {
    if (!asked.empty() && asked != std::vector<int>{1})
      throw error("register " + name + ": a device has no threads to choose: leave them out");
    return {1};
  } else if constexpr (std::is_default_constructible_v<Exec>)
    return asked.empty() ? std::vector<int>{Exec().threads()} : asked;
  else
    return asked.empty() ? std::vector<int>{1} : asked;
}

/// Times call(), behind a rewind() each time that is not timed, and sets what is reported. On a
/// device it is the time from where its first kernel begins to where its last one ends.
///   tokens/s, GFLOP/s, GB/s     rates of what was counted, over the time of the calls
///   predicted_us, roofline_%    the least time on the roofline, and its share of the measured
///   peak_GFLOP/s, peak_GB/s     the roofline, measured in this run
template <class Exec, class Rewind, class Call>
void measure(::benchmark::State& state, Exec& exec, std::int64_t tokens, call_cost const& cost,
             double least, roofline const& on, Rewind const& rewind, Call const& call) {
  double seconds = 0, calls = 0;
  for (auto _ : state) {
    rewind();
    double const spent = seconds_of(exec, call);
    state.SetIterationTime(spent);
    seconds += spent;
    calls += 1;
  }
  if (!(seconds > 0)) return;
  double const each = seconds / calls;
  auto& out = state.counters;
  out["tokens/s"] = double(tokens) / each;
  out["GFLOP/s"] = cost.flops / each / 1e9;
  out["GB/s"] = cost.bytes / each / 1e9;
  out["predicted_us"] = least * 1e6;
  out["roofline_%"] = 100 * least / each;
  out["peak_GFLOP/s"] = on.flops / 1e9;
  out["peak_GB/s"] = on.bytes / 1e9;
}

/// A place of each type's own.
template <class T>
inline char type_place = 0;

/// What tells a type from others within one run, without RTTI.
template <class T>
std::string type_key() {
  return std::to_string(reinterpret_cast<std::uintptr_t>(&type_place<T>)) + " ";
}

}  // namespace detail

/// A registered benchmark: benchmark::Benchmark from version 1.9.5 of Google Benchmark on, in its
/// namespace internal before.
using registration = std::remove_pointer_t<decltype(::benchmark::RegisterBenchmark(
    std::declval<char const*>(), std::declval<void (*)(::benchmark::State&)>()))>;

/// What is registered, for what Google Benchmark has to say further: for (auto* b : registered)
/// b->MinTime(2)->Repetitions(5);
///
/// What is reported, of the calls alone; going back to the start of a sequence is not timed. On a
/// device the time is its own, from where the first kernel of a call begins to where the last one
/// ends, and launching them is not in it as long as the device is not waiting for a launch:
///
/// - `tokens/s`, `GFLOP/s`, `GB/s`: rates of what was counted
/// - `predicted_us`: the least time on the roofline of this run
/// - `roofline_%`: its share of the measured time; above 100 where warm weights come from a cache
/// - `peak_GFLOP/s`, `peak_GB/s`: the roofline, measured in this process with as many threads, or
///   on the device
/// - `parameters`, `active_parameters`, `state_bytes`, `kv_bytes`: of a model, and its sequences
///   after the call
///
/// The label says how many copies of the weights there are and how large, how many experts were
/// reached, and how far the result is from the reference as a share of its largest value.
/// Shapes: a vector of Google Benchmark's own objects, for what it has to say further:
///   `b->MinTime(2)->Repetitions(5)`
/// Cost: one piece of work is kept, the last, until `run` ends or another is measured
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp,
///   tests/checks/compile_fail/benchmark.cpp
using registered = std::vector<registration*>;

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
