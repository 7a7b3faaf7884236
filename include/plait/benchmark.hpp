// Benchmarks of layers, models, ops and other subjects. Needs Google Benchmark, as no other header
// of plait does; benchmark/explain.hpp, alone, does not.
// Test: tests/unit/benchmark/register_test.cpp
#pragma once

#include <plait/benchmark/driver.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/probe.hpp>
#include <plait/benchmark/register_layer.hpp>
#include <plait/benchmark/register_model.hpp>
#include <plait/benchmark/register_op.hpp>
#include <plait/benchmark/run.hpp>
#include <plait/plait.hpp>
