// The driver of all subjects: registers a benchmark per point of a sweep, which checks, times and
// counts.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/measurement.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/benchmark/subject.hpp>
#include <plait/benchmark/sweep.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// A benchmark in Google Benchmark's list: the type that RegisterBenchmark returns, because 1.9.5
/// moved the class to another namespace.
/// Test: tests/unit/benchmark/register_test.cpp
using registration = std::remove_pointer_t<decltype(::benchmark::RegisterBenchmark(
    std::declval<char const*>(), std::declval<void (*)(::benchmark::State&)>()))>;

/// The registered benchmarks, for Google Benchmark's own settings:
/// `for (auto* b : registered) b->MinTime(2)->Repetitions(5);`
///
/// Each reports, of the timed calls alone (rewinding a sequence is not timed):
///
/// - `tokens/s`, `GFLOP/s`, `GB/s`: rates of what the subject counts
/// - `predicted_us`: the least time of a call on the roofline of this run
/// - `roofline_%`: its share of the measured time; above 100 where warm weights come from a cache
/// - `peak_GFLOP/s`, `peak_GB/s`: the roofline, measured in this process with as many threads, or
///   on the device
/// - `parameters`, `active_parameters`, `state_bytes`, `kv_bytes`: of a model, and of its sequences
///   after the call
/// - the label: copies of the weights and their size, experts reached, and the difference from the
///   reference as a share of its largest value
///
/// A device's time is from the start of the call's first kernel to the end of its last one. It
/// includes launches only where the device waits for one.
/// Shapes: a pointer per benchmark, owned by Google Benchmark
/// Cost: only the copies of the last measurement are in memory, until `run` ends or another subject
///   is measured
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
using registered = std::vector<registration*>;

namespace detail {

/// Tables that `run` prints after all benchmarks, each with the name of its benchmark.
inline std::vector<std::pair<std::string, explanation>>& tables() {
  static std::vector<std::pair<std::string, explanation>> all;
  return all;
}

/// A repetition's table replaces the previous one.
inline void keep_table(std::string const& name, explanation table) {
  for (auto& [known, kept_table] : tables())
    if (known == name) {
      kept_table = std::move(table);
      return;
    }
  tables().emplace_back(name, std::move(table));
}

/// A subject's parameters; by default none.
template <class S>
constexpr parameters parameters_of() {
  if constexpr (requires { S::depends; })
    return S::depends;
  else
    return {};
}

/// Times a point and sets the counters of `registered`.
template <subject S>
void measure(::benchmark::State& state, measurement<S>& timed, sweep_point const& at,
             bool by_layer) {
  timed.move_to(at.call, at.threads);
  if (!timed.error().empty()) return state.SkipWithError(timed.error().c_str());
  roofline const& on = roofline_of_run(timed.exec());
  timed.warm_up();
  std::int64_t const calls_per_timing = timed.calls_per_timing();
  double seconds = 0;
  double calls = 0;
  for (auto _ : state) {
    timed.next_copy();
    double const spent = seconds_of(timed.exec(), [&] {
      for (std::int64_t i = 0; i < calls_per_timing; ++i) timed.run();
    });
    state.SetIterationTime(spent / double(calls_per_timing));
    seconds += spent;
    calls += double(calls_per_timing);
  }
  if (!(seconds > 0)) return;
  double const seconds_per_call = seconds / calls;
  double const least = timed.least_seconds(on);
  call_cost const cost = timed.subject().cost();
  auto& counters = state.counters;
  counters["tokens/s"] = double(at.call.tokens * at.call.sequences) / seconds_per_call;
  counters["GFLOP/s"] = cost.flops / seconds_per_call / 1e9;
  counters["GB/s"] = cost.bytes / seconds_per_call / 1e9;
  counters["predicted_us"] = least * 1e6;
  counters["roofline_%"] = 100 * least / seconds_per_call;
  counters["peak_GFLOP/s"] = on.flops / 1e9;
  counters["peak_GB/s"] = on.bytes / 1e9;
  if constexpr (requires { timed.subject().add_counters(counters); })
    timed.subject().add_counters(counters);
  state.SetLabel(timed.label());
  auto const next = [&]() -> typename S::copy& { return timed.next_copy(); };
  if constexpr (requires { timed.subject().table(timed.exec(), on, next); })
    if (by_layer) keep_table(at.name, timed.subject().table(timed.exec(), on, next));
}

}  // namespace detail

/// Registers a subject with Google Benchmark, a benchmark per point of the sweep:
///
///   plait::bench::register_subject("axpy", axpy{}, {.tokens = {1, 64}});
///
/// A point is checked before it is timed. A subject that is wrong is an error of the benchmark and
/// has no time.
/// Shapes: named `name/precision/tokens:T/context:C/sequences:S/threads:N/weights:cold/routing:R`,
///   with only the parameters that the subject depends on; `sequences` if there are several,
///   `threads` on the CPU only
/// Errors: those of benchmark/sweep.hpp. Exceptions of a benchmark are errors of that benchmark
/// Cost: `sweep::max_bytes` of copies, or one copy where it needs more
/// Test: tests/unit/benchmark/register_test.cpp, tests/checks/compile_fail/benchmark.cpp
template <class S>
registered register_subject(std::string const& name, S const& what, sweep const& by = {}) {
  registered all;
  static_assert(subject<S>,
                "plait: register_subject needs a subject: exec_type, copy, begin, prepare, check, "
                "run and cost, as benchmark/subject.hpp says");
  if constexpr (subject<S>) {
    using exec_type = typename S::exec_type;
    if constexpr (sizeof(detail::measurable<exec_type>) > 0 && detail::is_measurable<exec_type>) {
      auto const shared = std::make_shared<S const>(what);
      for (detail::sweep_point const& at :
           detail::points_of<exec_type>(name, by, detail::parameters_of<S>())) {
        auto const run = [=](::benchmark::State& state) {
          try {
            detail::measure(state, detail::measurement_of(shared, by), at, by.by_layer);
          } catch (std::exception const& e) {
            state.SkipWithError(e.what());
          }
        };
        all.push_back(::benchmark::RegisterBenchmark(at.name.c_str(), run)
                          ->UseManualTime()
                          ->Unit(::benchmark::kMicrosecond));
      }
    }
  }
  return all;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
