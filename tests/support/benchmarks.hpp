// Results of registered benchmarks, run for two iterations each.
#pragma once

#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/measurement.hpp>

#include <benchmark/benchmark.h>
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

namespace test {

/// One run as Google Benchmark reports it.
struct benchmark_result {
  std::string name, label, error;
  ::benchmark::UserCounters counters;
  double counter(std::string const& counter_name) const {
    auto const at = counters.find(counter_name);
    return at == counters.end() ? NAN : double(at->second);
  }
  /// The bytes of a call, from GB/s and tokens/s.
  double bytes(double tokens) const { return counter("GB/s") * 1e9 * tokens / counter("tokens/s"); }
};

class collect : public ::benchmark::BenchmarkReporter {
 public:
  std::vector<benchmark_result> results;
  bool ReportContext(Context const&) override { return true; }
  void ReportRuns(std::vector<Run> const& runs) override {
    for (Run const& r : runs)
      results.push_back({r.benchmark_name(), r.report_label, error_of(r), r.counters});
  }

 private:
  /// The error of a run; Google Benchmark 1.8 renamed the member.
  template <class R>
  static std::string error_of(R const& r) {
    if constexpr (requires { r.error_occurred; })
      return r.error_occurred ? r.error_message : "";
    else
      return r.skip_message;
  }
};

inline std::vector<benchmark_result> run_registered() {
  collect reporter;
  ::benchmark::RunSpecifiedBenchmarks(&reporter);
  ::benchmark::ClearRegisteredBenchmarks();
  plait::bench::detail::last_measurement().reset();
  return reporter.results;
}

/// Runs the benchmarks that `add` registers, two iterations each.
template <class Add>
std::vector<benchmark_result> run_benchmarks(Add const& add) {
  ::benchmark::ClearRegisteredBenchmarks();
  for (auto* b : add()) b->Iterations(2);
  return run_registered();
}

/// Appends the benchmarks of another registration.
inline void append(plait::bench::registered& all, plait::bench::registered const& more) {
  all.insert(all.end(), more.begin(), more.end());
}

/// The error of the one benchmark that `add` registers; with an error it has no time.
template <class Add>
std::string error_of_benchmark(Add const& add) {
  auto const results = run_benchmarks(add);
  REQUIRE(results.size() == 1);
  if (!results[0].error.empty()) CHECK(std::isnan(results[0].counter("tokens/s")));
  return results[0].error;
}

/// Checks that a benchmark has no error, and all counters.
inline void check_reported(benchmark_result const& r) {
  CAPTURE(r.name);
  CHECK(r.error == "");
  for (char const* name :
       {"tokens/s", "GFLOP/s", "GB/s", "predicted_us", "roofline_%", "peak_GFLOP/s", "peak_GB/s"}) {
    CAPTURE(name);
    CHECK(r.counter(name) > 0);
  }
  CHECK(r.label.find("off by ") != std::string::npos);
}

}  // namespace test
