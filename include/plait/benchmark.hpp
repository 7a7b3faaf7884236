// Measuring layers, models, ops and subjects of your own in a few lines. Needs Google Benchmark,
// which nothing else in plait does; benchmark/explain.hpp, alone, does not.
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
