// What sits where, found again from the layers themselves: period and offset of a pattern, however
// its schedule is called.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/interleave.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Layer i is marked if i mod period is in [first, first + count). All three count layers.
/// Equation: layer i is marked if i mod period is in [first, first + count). `find_run` gives the
///   shortest such pattern; a run that occurs once has the number of layers for its period, no mark
///   at all is a count of 0. `interleave_of` makes blocks of the least common multiple of both
///   periods where that divides the number of layers, otherwise one block
/// Shapes: all in layers; `experts` without a value, or with a count of 0, is a schedule in which
///   none routes
/// Errors: none; `find_run` gives nothing where there is no such pattern
/// Cost: a pass over the layers
/// Test: tests/unit/io/family_test.cpp
struct repeating_run {
  int period = 1, first = 0, count = 0;
  bool marks(std::int64_t layer) const {
    return layer % period >= first && layer % period < std::int64_t{first} + count;
  }
};

/// The shortest such pattern of these layers; nothing if there is none. A run that occurs once has
/// the number of layers for its period, and none at all is a count of 0.
inline std::optional<repeating_run> find_run(std::vector<bool> const& marked) {
  int const n = static_cast<int>(marked.size());
  auto const next = [&](int from, bool value) {
    while (from < n && marked[static_cast<std::size_t>(from)] != value) ++from;
    return from;
  };
  int const first = next(0, true), end = next(first, false), again = next(end, true);
  if (first == n) return repeating_run{.period = n + 1, .first = n, .count = 0};
  if (first == 0 && end == n) return repeating_run{.period = 1, .first = 0, .count = 1};
  repeating_run const run{
      .period = again < n ? again - first : n, .first = first, .count = end - first};
  if (run.first + run.count > run.period) return std::nullopt;
  for (int i = 0; i < n; ++i)
    if (run.marks(i) != marked[static_cast<std::size_t>(i)]) return std::nullopt;
  return run;
}

/// The schedule of `layers` layers with these runs; in blocks of both periods' least common
/// multiple where they come out even.
inline interleave interleave_of(int layers, repeating_run const& attention,
                                std::optional<repeating_run> const& experts) {
  bool const attends = attention.count > 0, routes = experts.has_value() && experts->count > 0;
  std::int64_t const a = attends ? attention.period : 1, e = routes ? experts->period : 1,
                     both = std::lcm(a, e);
  bool const repeats = layers % both == 0;
  interleave s{.blocks = repeats ? static_cast<int>(layers / both) : 1,
               .layers_per_block = repeats ? static_cast<int>(both) : layers};
  s.attend = attention.count;
  s.recur = static_cast<int>(a) - attention.count;
  if (attends && attention.first != s.first_attention()) s.attend_offset = attention.first;
  if (!routes) return s;
  s.moe_every = experts->period;
  if (experts->first != s.first_moe()) s.moe_offset = experts->first;
  return s;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
