// What a benchmark sweeps over.
// Shapes: lists of numbers: every combination is a benchmark. No threads: those of the execution
//   policy's default. warm: one copy of the weights, as the last call left it. cold: copies in
//   turn, with their own sequences, `cold_bytes` read before one comes again, `max_bytes` together
//   at most (0: a quarter of the memory, on a device of its own). `by_layer`: `run` prints
//   explain's table with measured times
// Test: tests/unit/benchmark/register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/routing.hpp>
#include <plait/core/macros.hpp>
#include <plait/layers/layer.hpp>

#include <cstdint>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// warm: one copy of the weights, as the last call left it. cold: so many copies in turn that the
/// last-level cache holds none of what a call reads, as a layer in a large model finds its weights.
enum class weights : unsigned char { warm, cold };

/// As it is written in a benchmark's name.
constexpr char const* name_of(weights w) { return w == weights::warm ? "warm" : "cold"; }

/// register_layer runs every combination of tokens, context and threads.
struct layer_options {
  std::vector<std::int64_t> tokens = {1, 16, 128, 512};  ///< new ones in a call
  std::vector<std::int64_t> context = {0};               ///< cached ones; a feed-forward knows none
  std::vector<int> threads = {};  ///< none: those of the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  layer_settings settings = {};
  std::int64_t max_bytes =
      0;  ///< of all copies of the weights, with their caches; 0: a quarter of the machine's memory
};

/// register_model runs every combination of tokens, context, sequences and threads.
struct model_options {
  std::vector<std::int64_t> tokens = {1, 128, 512};  ///< new ones of each sequence in a call
  std::vector<std::int64_t> context = {0};           ///< cached ones of each sequence
  std::vector<std::int64_t> sequences = {1};         ///< in a call together
  std::vector<int> threads = {};  ///< none: those of the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  bool by_layer =
      false;  ///< run prints for each the table of explain with measured times beside it
  std::int64_t max_bytes =
      0;  ///< of all copies of the weights, with their caches; 0: a quarter of the machine's memory
  std::int64_t max_check_bytes = 0;  ///< of the reference; a model beyond it is timed unchecked and
                                     ///< says so; 0: a quarter as well
};

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
