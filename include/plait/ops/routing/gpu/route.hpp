// Kernels of route.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/selective_scan/gpu/scan_args.hpp>

#include <bit>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Arguments of the kernels.
struct route_args {
  rows_of<float const> logits;
  int experts, choices;  ///< n, and K of a token
  std::int64_t total;    ///< choices of all tokens
  bool renormalised;
  rows_of<std::int32_t> expert, place;
  rows_of<float> weight;
  std::int32_t *token, *first;
  std::int32_t* starts;  ///< [n][blocks] of sort_choices: how many choices of the expert a block
                         ///< has, then where those begin
  std::int64_t blocks;

  PLAIT_HD std::int32_t expert_of(std::int64_t i) const {
    auto const k = static_cast<std::uint32_t>(choices), at = static_cast<std::uint32_t>(i);
    return expert.row(at / k)[at % k];
  }
  PLAIT_HD void put(std::int64_t i, std::int32_t where) const {
    auto const k = static_cast<std::uint32_t>(choices), at = static_cast<std::uint32_t>(i);
    place.row(at / k)[at % k] = where;
    token[where] = static_cast<std::int32_t>(at / k);
  }
};

/// Larger where ops::choose_top_k has (value, expert) further ahead; never 0.
PLAIT_HD inline std::uint64_t choice_key(float value, int expert) {
  std::uint32_t const bits = std::bit_cast<std::uint32_t>(value), sign = 0x80000000u;
  std::uint32_t const ordered = value != value       ? 0xffffffffu
                                : value == 0         ? sign
                                : (bits & sign) != 0 ? ~bits
                                                     : bits | sign;
  return std::uint64_t{ordered} << 32 | (0xffffffffu - static_cast<std::uint32_t>(expert));
}

/// A warp finds the choices of token t.
template <class Block>
PLAIT_HD inline void choose_experts(Block const& b, route_args const& a, std::int64_t t) {
  float const* const row = a.logits.row(t);
  std::int32_t* const expert = a.expert.row(t);
  float most = row[0], total = 0, chosen = 0;
  for (int e = b.lane(); e < a.experts; e += warp_size) most = fmaxf(most, row[e]);
  for (int mask = warp_size / 2; mask > 0; mask /= 2)
    most = fmaxf(most, b.shuffle_xor(most, mask));  // the largest that is a number
  for (int e = b.lane(); e < a.experts; e += warp_size) total += expf(row[e] - most);
  total = warp_sum(b, total);
  std::uint64_t before = 0;
  for (int j = 0; j < a.choices; ++j) {
    std::uint64_t best = 0;
    for (int e = b.lane(); e < a.experts; e += warp_size) {
      std::uint64_t const key = choice_key(row[e], e);
      if (key > best && (j == 0 || key < before)) best = key;
    }
    for (int mask = warp_size / 2; mask > 0; mask /= 2) {
      std::uint64_t const other = b.shuffle_xor(best, mask);
      best = other > best ? other : best;
    }
    before = best;
    std::int32_t const e =
        static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(best));
    chosen += expf(row[e] - most);
    if (b.lane() == 0) expert[j] = e;
  }
  b.sync_warp();
  if (a.renormalised) total = chosen;
  for (int j = b.lane(); j < a.choices; j += warp_size)
    a.weight.row(t)[j] = expf(row[expert[j]] - most) / total;
}

/// A warp counts the choices [from, to) among `range` experts from `base` on into counts[range],
/// and calls found(i, count before i).
template <class Block, class Found>
PLAIT_HD inline void count_choices(Block const& b, route_args const& a, std::int64_t from,
                                   std::int64_t to, int base, int range, std::int32_t* counts,
                                   Found const& found) {
  for (std::int64_t at = from; at < to; at += warp_size) {
    std::int64_t const i = at + b.lane();
    std::int32_t const e = i < to ? a.expert_of(i) - base : -1;
    int before = 0, same = 0;
    PLAIT_UNROLL
    for (int l = 0; l < warp_size; ++l) {
      bool const its = b.shuffle(e, l) == e;
      same += its ? 1 : 0;
      before += its && l < b.lane() ? 1 : 0;
    }
    bool const mine = e >= 0 && e < range;
    std::int32_t const count = mine ? counts[e] : 0;
    b.sync_warp();
    if (mine && before + 1 == same) counts[e] = count + same;
    b.sync_warp();
    if (mine) found(i, count + before);
  }
}

/// A warp a token.
struct choose {
  using args = route_args;
  static constexpr int warps = 8, threads = warps * warp_size;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const t = b.x() * warps + b.warp();
    if (t < a.total / a.choices) choose_experts(b, a, t);
  }
};

/// Block (x, y) has `choices` choices and `range` experts. Placed: puts the choices where they
/// belong; else: counts them.
template <bool Placed>
struct sort_choices {
  using args = route_args;
  static constexpr int warps = 8, threads = warps * warp_size, range = 1024, choices = 2048;
  template <class>
  struct shared {
    std::int32_t counts[warps][range];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    int const base = static_cast<int>(b.y()) * range,
              here = a.experts - base < range ? a.experts - base : range;
    std::int64_t const from = b.x() * choices + b.warp() * (choices / warps);
    std::int64_t const to = from + choices / warps < a.total ? from + choices / warps : a.total;
    for (int e = b.lane(); e < here; e += warp_size) s.counts[b.warp()][e] = 0;
    b.sync_warp();
    count_choices(b, a, from, to, base, here, s.counts[b.warp()],
                  [](std::int64_t, std::int32_t) {});
    b.sync();
    for (int e = b.thread(); e < here; e += threads) {
      std::int32_t& start = a.starts[std::int64_t{base + e} * a.blocks + b.x()];
      std::int32_t sum = Placed ? start : 0;
      for (int w = 0; w < warps; ++w) {
        std::int32_t const count = s.counts[w][e];
        s.counts[w][e] = sum;
        sum += count;
      }
      if (!Placed) start = sum;
    }
    if (!Placed) return;
    b.sync();
    count_choices(b, a, from, to, base, here, s.counts[b.warp()],
                  [&](std::int64_t i, std::int32_t where) { a.put(i, where); });
  }
};

/// Adds counts of choices, expert by expert.
struct add_counts {
  PLAIT_HD std::int32_t operator()(std::int32_t a, std::int32_t b) const { return a + b; }
};

/// One block makes of counts where they begin.
struct start_choices {
  using args = route_args;
  static constexpr int threads = 256, items = 8;
  template <class Block>
  struct shared {
    typename Block::template scan_space<std::int32_t> space;
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const size = a.experts * a.blocks;
    std::int32_t carry = 0;
    for (std::int64_t base = 0; base < size; base += threads * items) {
      std::int64_t const at = base + b.thread() * items;
      std::int32_t counts[items], until[items];
      PLAIT_UNROLL
      for (int i = 0; i < items; ++i) until[i] = counts[i] = at + i < size ? a.starts[at + i] : 0;
      b.scan(s.space, until, add_counts{}, carry);
      b.sync();
      PLAIT_UNROLL
      for (int i = 0; i < items; ++i)
        if (at + i < size) {
          a.starts[at + i] = until[i] - counts[i];
          if ((at + i) % a.blocks == 0) a.first[(at + i) / a.blocks] = until[i] - counts[i];
        }
    }
    if (b.thread() == 0) a.first[a.experts] = carry;
  }
};

/// All of it for few tokens, by one block.
struct route_few {
  using args = route_args;
  static constexpr int warps = 8, threads = warps * warp_size, range = 2 * threads,
                       max_tokens = 256;
  template <class Block>
  struct shared {
    std::int32_t counts[warps][range];
    typename Block::template scan_space<std::int32_t> space;
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    int const tokens = static_cast<int>(a.total / a.choices);
    for (int t = b.warp(); t < tokens; t += warps) choose_experts(b, a, t);
    for (int e = b.lane(); e < range; e += warp_size) s.counts[b.warp()][e] = 0;
    b.sync();
    std::int64_t const part = (a.total + threads - 1) / threads * warp_size;
    std::int64_t const from = b.warp() * part, to = from + part < a.total ? from + part : a.total;
    count_choices(b, a, from, to, 0, a.experts, s.counts[b.warp()],
                  [](std::int64_t, std::int32_t) {});
    b.sync();
    std::int32_t carry = 0, until[2] = {0, 0};
    PLAIT_UNROLL
    for (int i = 0; i < 2; ++i)
      for (int w = 0; w < warps; ++w) until[i] += s.counts[w][2 * b.thread() + i];
    b.scan(s.space, until, add_counts{}, carry);
    PLAIT_UNROLL
    for (int i = 0; i < 2; ++i) {
      int const e = 2 * b.thread() + i;
      std::int32_t start = until[i];  // of the expert behind this one: from the last warp back
      for (int w = warps - 1; w >= 0; --w) s.counts[w][e] = start -= s.counts[w][e];
      if (e < a.experts) a.first[e] = start;
    }
    if (b.thread() == 0) a.first[a.experts] = carry;
    b.sync();
    count_choices(b, a, from, to, 0, a.experts, s.counts[b.warp()],
                  [&](std::int64_t i, std::int32_t where) { a.put(i, where); });
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
