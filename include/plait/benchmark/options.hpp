// The sweeps and settings of register_layer and register_model.
// Shapes: lists of numbers; every combination is a benchmark. An empty list of threads means the
//   execution policy's default
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/routing.hpp>
#include <plait/core/macros.hpp>
#include <plait/layers/layer.hpp>

#include <cstdint>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Whether a call finds its weights in the caches.
///
/// - `warm`: one copy of the weights, as the last call left it
/// - `cold`: copies in turn, each with its own sequences, so many that a call finds none of its
///   operands in the last-level cache, as a layer of a large model does: `cold_bytes` are read
///   before a copy comes again
/// Test: tests/unit/benchmark/register_test.cpp
enum class weights : unsigned char { warm, cold };

/// The word in a benchmark's name.
constexpr char const* name_of(weights w) { return w == weights::warm ? "warm" : "cold"; }

/// The sweep of register_layer: every combination of tokens, context and threads.
/// Test: tests/unit/benchmark/register_test.cpp
struct layer_options {
  std::vector<std::int64_t> tokens = {1, 16, 128, 512};  ///< new tokens per call
  std::vector<std::int64_t> context = {0};               ///< cached tokens; of a mixer alone
  std::vector<int> threads = {};                         ///< empty: the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  layer_settings settings = {};
  /// Bytes of all copies of the weights, with their caches; 0: a quarter of the memory that holds
  /// them, the machine's or the device's.
  std::int64_t max_bytes = 0;
};

/// The sweep of register_model: every combination of tokens, context, sequences and threads.
/// Test: tests/unit/benchmark/register_test.cpp
struct model_options {
  std::vector<std::int64_t> tokens = {1, 128, 512};  ///< new tokens of each sequence per call
  std::vector<std::int64_t> context = {0};           ///< cached tokens of each sequence
  std::vector<std::int64_t> sequences = {1};         ///< sequences per call
  std::vector<int> threads = {};                     ///< empty: the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  /// `run` prints the table of `explain` for each point, with measured times.
  bool by_layer = false;
  /// Bytes of all copies of the weights, with their caches; 0: a quarter of the memory that holds
  /// them, the machine's or the device's.
  std::int64_t max_bytes = 0;
  /// Bytes of the reference model in double. A larger one is not made: the model is timed
  /// unchecked, and its label says so. 0: a quarter of the machine's memory.
  std::int64_t max_check_bytes = 0;
};

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
