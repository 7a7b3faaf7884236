// The points at which a subject is timed: every combination of the lists of a sweep, and the names
// of their benchmarks.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/core/error.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Every combination of tokens, context, sequences and threads is a benchmark of its own.
struct sweep {
  std::vector<std::int64_t> tokens = {1};     ///< new ones of each sequence in a call
  std::vector<std::int64_t> context = {0};    ///< cached ones of each sequence
  std::vector<std::int64_t> sequences = {1};  ///< in a call together
  std::vector<int> threads = {};              ///< none: those of the execution policy's default
  bench::weights weights = bench::weights::cold;
  bench::routing routing = bench::routing::random;
  bool by_layer = false;       ///< run prints the subject's table at each point, if it has one
  std::int64_t max_bytes = 0;  ///< of all copies; 0: a quarter of the memory where they are
};

/// Which parameters of a call a subject depends on beside its tokens: the others are neither swept
/// nor named.
struct parameters {
  bool context = false, sequences = false, routing = false;
};

namespace detail {

/// The lists that layer_options and model_options have in common with a sweep.
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

/// Refuses what no call can be.
inline void check_range(std::string const& name, char const* what,
                        std::vector<std::int64_t> const& values, std::int64_t least,
                        std::int64_t most) {
  if (values.empty())
    throw error("register " + name + ": " + what +
                " is an empty list, so that there is nothing to measure");
  for (std::int64_t const v : values)
    if (v < least || v > most)
      throw error("register " + name + ": " + what + " is between " + std::to_string(least) +
                  " and " + std::to_string(most) + ", not " + std::to_string(v));
}

template <class Exec>
std::vector<int> threads_of(std::string const& name, std::vector<int> const& asked) {
  for (int const n : asked)
    if (n < 1 || n > 4096)
      throw error("register " + name + ": threads is between 1 and 4096, not " + std::to_string(n));
  if constexpr (on_device<Exec>) {
    if (!asked.empty() && asked != std::vector<int>{1})
      throw error("register " + name + ": a device has no threads to choose: leave them out");
    return {1};
  } else if constexpr (std::is_default_constructible_v<Exec>) {
    return asked.empty() ? std::vector<int>{Exec().threads()} : asked;
  } else {
    return asked.empty() ? std::vector<int>{1} : asked;
  }
}

/// One benchmark: its call, its threads, and "name/f32/tokens:16/...", the way Google Benchmark
/// writes arguments.
struct sweep_point {
  bench::call call;
  int threads = 1;
  std::string name;
};

/// The points of a sweep, contexts in the order in which they are given. plait::error where a list
/// is empty or out of range.
template <class Exec>
std::vector<sweep_point> points_of(std::string const& name, sweep const& s,
                                   parameters const& depends) {
  check_range(name, "tokens", s.tokens, 1, max_call_tokens);
  check_range(name, "context", s.context, 0, std::int64_t{1} << 32);
  check_range(name, "sequences", s.sequences, 1, max_call_tokens);
  std::vector<std::int64_t> const once{0};
  std::vector<std::int64_t> const alone{1};
  std::vector<sweep_point> points;
  for (int const threads : threads_of<Exec>(name, s.threads))
    for (std::int64_t const sequences : depends.sequences ? s.sequences : alone)
      for (std::int64_t const context : depends.context ? s.context : once)
        for (std::int64_t const tokens : s.tokens) {
          std::string full = name + "/" + name_of(Exec::types);
          auto const add = [&](char const* what, std::string const& value) {
            full.append("/").append(what).append(":").append(value);
          };
          add("tokens", std::to_string(tokens));
          if (depends.context) add("context", std::to_string(context));
          if (depends.sequences && s.sequences != alone)
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
