// Arguments and warp-level steps of the routing kernels.
//
// Choices are numbered in the order of their tokens. A warp counts 32 of them at a time: each lane
// learns from the others how many earlier ones chose the same expert. So every place follows from
// counts alone, without atomics: the same bits in any order of threads.
// Test: tests/unit/ops/routing/route_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/math.hpp>
#include <plait/gpu/vector.hpp>

#include <bit>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Arguments of the routing kernels.
struct route_args {
  rows_of<float const> logits;
  int experts;         ///< n
  int choices;         ///< k per token
  std::int64_t total;  ///< choices of all tokens
  bool renormalised;
  rows_of<std::int32_t> expert, place;
  rows_of<float> weight;
  std::int32_t *token, *first;
  std::int32_t* starts;  ///< [n][blocks]: counts of choices, then the place of the first one
  std::int64_t blocks;   ///< of sort_choices, along x

  /// The expert of choice i.
  PLAIT_HD std::int32_t expert_of(std::int64_t i) const {
    auto const k = static_cast<std::uint32_t>(choices), at = static_cast<std::uint32_t>(i);
    return expert.row(at / k)[at % k];
  }
  /// Puts choice i at row `where` of the grouped order.
  PLAIT_HD void put(std::int64_t i, std::int32_t where) const {
    auto const k = static_cast<std::uint32_t>(choices), at = static_cast<std::uint32_t>(i);
    place.row(at / k)[at % k] = where;
    token[where] = static_cast<std::int32_t>(at / k);
  }
};

/// An ordered key of a choice: larger where ops::choose_top_k ranks (value, expert) higher; never
/// 0.
PLAIT_HD inline std::uint64_t choice_key(float value, int expert) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value), sign = 0x80000000u;
  std::uint32_t const ordered = value != value       ? 0xffffffffu
                                : value == 0         ? sign
                                : (bits & sign) != 0 ? ~bits
                                                     : bits | sign;
  return std::uint64_t{ordered} << 32 | (0xffffffffu - static_cast<std::uint32_t>(expert));
}

/// A warp finds the experts of token t and their weights.
template <class Block>
PLAIT_HD inline void choose_experts(Block const& b, route_args const& a, std::int64_t t) {
  float const* const row = a.logits.row(t);
  std::int32_t* const expert = a.expert.row(t);
  // The maximum ignores NaN.
  float max_logit = row[0], total = 0, chosen = 0;
  for (int e = b.lane(); e < a.experts; e += warp_size) max_logit = fmaxf(max_logit, row[e]);
  for (int mask = warp_size / 2; mask > 0; mask /= 2)
    max_logit = fmaxf(max_logit, b.shuffle_xor(max_logit, mask));
  for (int e = b.lane(); e < a.experts; e += warp_size) total += expf(row[e] - max_logit);
  total = warp_sum(b, total);
  std::uint64_t previous = 0;
  for (int j = 0; j < a.choices; ++j) {
    std::uint64_t best = 0;
    for (int e = b.lane(); e < a.experts; e += warp_size) {
      std::uint64_t const key = choice_key(row[e], e);
      if (key > best && (j == 0 || key < previous)) best = key;
    }
    for (int mask = warp_size / 2; mask > 0; mask /= 2) {
      std::uint64_t const other = b.shuffle_xor(best, mask);
      best = other > best ? other : best;
    }
    previous = best;
    std::int32_t const e =
        static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(best));
    chosen += expf(row[e] - max_logit);
    if (b.lane() == 0) expert[j] = e;
  }
  b.sync_warp();
  if (a.renormalised) total = chosen;
  for (int j = b.lane(); j < a.choices; j += warp_size)
    a.weight.row(t)[j] = expf(row[expert[j]] - max_logit) / total;
}

/// A warp adds the choices [from, to) of experts [base, base + range) to counts[range], and calls
/// found(i, count of the expert before choice i).
template <class Block, class Found>
PLAIT_HD inline void count_choices(Block const& b, route_args const& a, std::int64_t from,
                                   std::int64_t to, int base, int range, std::int32_t* counts,
                                   Found const& found) {
  for (std::int64_t at = from; at < to; at += warp_size) {
    std::int64_t const i = at + b.lane();
    std::int32_t const e = i < to ? a.expert_of(i) - base : -1;
    int earlier = 0, warp_count = 0;
    PLAIT_UNROLL
    for (int l = 0; l < warp_size; ++l) {
      bool const same_expert = b.shuffle(e, l) == e;
      warp_count += same_expert ? 1 : 0;
      earlier += same_expert && l < b.lane() ? 1 : 0;
    }
    bool const in_range = e >= 0 && e < range;
    std::int32_t const count = in_range ? counts[e] : 0;
    b.sync_warp();
    if (in_range && earlier + 1 == warp_count) counts[e] = count + warp_count;
    b.sync_warp();
    if (in_range) found(i, count + earlier);
  }
}

/// The sum of two counts, the operator of a scan.
struct add_counts {
  PLAIT_HD std::int32_t operator()(std::int32_t a, std::int32_t b) const { return a + b; }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
