// Periodic patterns of layers: the schedule of an architecture, recovered from its list of layers.
// Test: tests/unit/io/family_test.cpp
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

/// A periodic set of layers: those with i mod period in [first, first + count).
struct repeating_run {
  int period = 1;
  int first = 0;
  int count = 0;

  bool contains(std::int64_t layer) const {
    return layer % period >= first && layer % period < std::int64_t{first} + count;
  }
};

/// The pattern with the shortest period whose layers are those marked, or nullopt. A run that
/// occurs once has the number of layers as its period; without a marked layer, `count` is 0.
inline std::optional<repeating_run> find_run(std::vector<bool> const& marked) {
  int const n = static_cast<int>(marked.size());
  auto const next = [&](int from, bool value) {
    while (from < n && marked[static_cast<std::size_t>(from)] != value) ++from;
    return from;
  };
  int const first = next(0, true);
  int const end = next(first, false);
  int const second = next(end, true);
  if (first == n) return repeating_run{.period = n + 1, .first = n, .count = 0};
  if (first == 0 && end == n) return repeating_run{.period = 1, .first = 0, .count = 1};
  repeating_run const run{
      .period = second < n ? second - first : n, .first = first, .count = end - first};
  if (run.first + run.count > run.period) return std::nullopt;
  for (int i = 0; i < n; ++i)
    if (run.contains(i) != marked[static_cast<std::size_t>(i)]) return std::nullopt;
  return run;
}

/// The schedule of `layers` layers with attention and experts in these patterns; `experts` without
/// a value or with a count of 0 is a schedule without experts. A block has the least common
/// multiple of both periods as its length if that divides `layers`; otherwise there is one block.
inline interleave interleave_of(int layers, repeating_run const& attention,
                                std::optional<repeating_run> const& experts) {
  bool const attends = attention.count > 0, routes = experts.has_value() && experts->count > 0;
  std::int64_t const attention_period = attends ? attention.period : 1;
  std::int64_t const expert_period = routes ? experts->period : 1;
  std::int64_t const block = std::lcm(attention_period, expert_period);
  bool const repeats = layers % block == 0;
  interleave s{.blocks = repeats ? static_cast<int>(layers / block) : 1,
               .layers_per_block = repeats ? static_cast<int>(block) : layers};
  s.attend = attention.count;
  s.recur = static_cast<int>(attention_period) - attention.count;
  if (attends && attention.first != s.first_attention()) s.attend_offset = attention.first;
  if (!routes) return s;
  s.moe_every = experts->period;
  if (experts->first != s.first_moe()) s.moe_offset = experts->first;
  return s;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
