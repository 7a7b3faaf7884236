// Layers and models as benchmarks, in one include: `benchmark/register_layer.hpp`,
// `benchmark/register_model.hpp`, `benchmark/run.hpp`, their options, `benchmark/explain.hpp` and
// `benchmark/probe.hpp`; and `plait.hpp`. Needs Google Benchmark (Debian: `libbenchmark-dev`),
// which nothing else in plait does; the CMake target `plait::plait` does not bring it: link
// `benchmark::benchmark` beside it.
// Test: tests/unit/benchmark/register_test.cpp, tests/checks/headers/alone.sh
#pragma once

#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/probe.hpp>
#include <plait/benchmark/register_layer.hpp>
#include <plait/benchmark/register_model.hpp>
#include <plait/benchmark/run.hpp>
#include <plait/plait.hpp>
