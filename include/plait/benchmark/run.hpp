// The main function of a benchmark.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/driver.hpp>

#include <benchmark/benchmark.h>

#include <iostream>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Runs what was registered, as Google Benchmark's own main does, and takes its flags. The
/// instruction set and the size of the last-level cache go into the context it prints; tables that
/// were asked for (model_options::by_layer) are printed to the standard error stream behind
/// everything else. Returns what main returns: 1 for an argument nobody knows. Compiled by nvcc,
/// which only measures devices, it says nothing of this machine; so each file has one of its own.
/// Shapes: takes Google Benchmark's flags; 1 for an argument nobody knows. The context says what
///   this machine is, but where nvcc compiles it. Tables asked for by `by_layer` go to the standard
///   error stream, at the end
/// Test: tests/unit/benchmark/register_test.cpp
static inline int run(int argc, char** argv) {
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
  detail::kept().reset();
  for (auto const& [name, table] : detail::tables()) std::cerr << '\n' << name << '\n' << table;
  return 0;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
