// The points at which a subject is timed, and the names of their benchmarks.
// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Lists of parameters: every combination of tokens, context, sequences and threads is a benchmark.
/// Errors: of `register_subject` and all that call it, each after `register NAME:`
///   - `is an empty list, so that there is nothing to measure`: of tokens, context or sequences
///   - `is between … and …, not …`: tokens and sequences from 1 on, context from 0 on
///   - `threads is between 1 and 4096`
///   - `a device has no threads to choose`
/// Test: tests/unit/benchmark/register_test.cpp
struct sweep {
  std::vector<std::int64_t> tokens = {1};     ///< new tokens of each sequence per call
  std::vector<std::int64_t> context = {0};    ///< cached tokens of each sequence
  std::vector<std::int64_t> sequences = {1};  ///< sequences per call
  std::vector<int> threads = {};              ///< empty: the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  bool by_layer = false;       ///< `run` prints the subject's table of each point, if it has one
  std::int64_t max_bytes = 0;  ///< of all copies; 0: a quarter of the memory that holds them
};

/// The parameters of a call, other than its tokens, that a subject depends on. The others are
/// neither swept nor named.
/// Test: tests/unit/benchmark/register_test.cpp
struct parameters {
  bool context = false;
  bool sequences = false;
  bool routing = false;
};

namespace detail {

/// The sweep of a layer_options or model_options.
template <class Options>
sweep sweep_of(Options const& o) {
  sweep s{.tokens = o.tokens,
          .context = o.context,
          .threads = o.threads,
          .weights = o.weights,
          .routing = o.routing,
          .max_bytes = o.max_bytes};
  if constexpr (requires { o.sequences; }) s.sequences = o.sequences;
  if constexpr (requires { o.by_layer; }) s.by_layer = o.by_layer;
  return s;
}

inline void check_range(std::string const& name, char const* what,
                        std::vector<std::int64_t> const& values, std::int64_t min,
                        std::int64_t max) {
  if (values.empty())
    throw error(sentence("register {}: {} is an empty list, so that there is nothing to measure",
                         name, what));
  for (std::int64_t const v : values)
    if (v < min || v > max)
      throw error(
          sentence("register {}: {} is between {} and {}, not {}", name, what, min, max, v));
}

/// The threads of a sweep; of an empty list those of the execution policy's default.
template <class Exec>
std::vector<int> threads_of(std::string const& name, std::vector<int> const& threads) {
  for (int const n : threads)
    if (n < 1 || n > 4096)
      throw error(sentence("register {}: threads is between 1 and 4096, not {}", name, n));
  if constexpr (on_device<Exec>) {
    if (!threads.empty() && threads != std::vector<int>{1})
      throw error(sentence("register {}: a device has no threads to choose: leave them out", name));
    return {1};
  } else if constexpr (std::is_default_constructible_v<Exec>) {
    return threads.empty() ? std::vector<int>{Exec().threads()} : threads;
  } else {
    return threads.empty() ? std::vector<int>{1} : threads;
  }
}

/// One benchmark. Its name has the form of Google Benchmark's arguments: "name/f32/tokens:16/...".
struct sweep_point {
  bench::call call;
  int threads = 1;
  std::string name;
};

/// The points of a sweep, contexts in the order of their list.
template <class Exec>
std::vector<sweep_point> points_of(std::string const& name, sweep const& s,
                                   parameters const& depends) {
  check_range(name, "tokens", s.tokens, 1, max_call_tokens);
  check_range(name, "context", s.context, 0, std::int64_t{1} << 32);
  check_range(name, "sequences", s.sequences, 1, max_call_tokens);
  std::vector<std::int64_t> const no_context{0};
  std::vector<std::int64_t> const one_sequence{1};
  std::vector<sweep_point> points;
  for (int const threads : threads_of<Exec>(name, s.threads))
    for (std::int64_t const sequences : depends.sequences ? s.sequences : one_sequence)
      for (std::int64_t const context : depends.context ? s.context : no_context)
        for (std::int64_t const tokens : s.tokens) {
          std::string full = name + "/" + name_of(Exec::types);
          auto const add = [&](char const* what, std::string const& value) {
            full.append("/").append(what).append(":").append(value);
          };
          add("tokens", std::to_string(tokens));
          if (depends.context) add("context", std::to_string(context));
          if (depends.sequences && s.sequences != one_sequence)
            add("sequences", std::to_string(sequences));
          if (!on_device<Exec>) add("threads", std::to_string(threads));
          add("weights", name_of(s.weights));
          if (depends.routing) add("routing", name_of(s.routing));
          points.push_back({.call = {.tokens = tokens,
                                     .context = context,
                                     .sequences = sequences,
                                     .routing = s.routing},
                            .threads = threads,
                            .name = full});
        }
  return points;
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
