// The main function of a benchmark program.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/measurement.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/text.hpp>

#include <benchmark/benchmark.h>

#include <iostream>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Runs the registered benchmarks with Google Benchmark's flags, as its own main does. Returns the
/// value for main: 1 for an unknown argument, else 0.
///
/// The printed context has the instruction set and the size of the last-level cache, except where
/// nvcc compiles: it measures devices alone. Tables (`by_layer`) go to the standard error stream,
/// at the end.
/// Test: tests/unit/benchmark/register_test.cpp
static inline int run(int argc, char** argv) {  // static: nvcc's definition is another one
  ::benchmark::Initialize(&argc, argv);
  if (::benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
#if !defined(__CUDACC__)
  ::benchmark::AddCustomContext("plait_packet_floats", std::to_string(PLAIT_PACKET));
  ::benchmark::AddCustomContext("plait_last_level_cache",
                                detail::text_of_bytes(double(last_level_cache())));
  for (dtype const products : {dtype::f32, dtype::bf16, dtype::int8})
    ::benchmark::AddCustomContext(std::string("plait_peak_of_") + name_of(products),
                                  peak_instruction(products));
#endif
  ::benchmark::RunSpecifiedBenchmarks();
  ::benchmark::Shutdown();
  detail::last_measurement().reset();
  for (auto const& [name, table] : detail::tables()) std::cerr << '\n' << name << '\n' << table;
  return 0;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
