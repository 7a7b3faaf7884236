// The kernels of route for many tokens: choices, then a stable counting sort.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/ops/routing/gpu/route_args.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// A warp chooses the experts of one token.
/// Test: tests/unit/ops/routing/route_gpu_test.cpp
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

/// Block (x, y) takes `choices` choices and `range` experts. Placed = false counts the choices;
/// Placed = true puts them in the grouped order.
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
    int const base = static_cast<int>(b.y()) * range;
    int const experts = a.experts - base < range ? a.experts - base : range;
    std::int64_t const from = b.x() * choices + b.warp() * (choices / warps);
    std::int64_t const to = from + choices / warps < a.total ? from + choices / warps : a.total;
    for (int e = b.lane(); e < experts; e += warp_size) s.counts[b.warp()][e] = 0;
    b.sync_warp();
    count_choices(b, a, from, to, base, experts, s.counts[b.warp()],
                  [](std::int64_t, std::int32_t) {});
    b.sync();
    for (int e = b.thread(); e < experts; e += threads) {
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
    count_choices(b, a, from, to, base, experts, s.counts[b.warp()],
                  [&](std::int64_t i, std::int32_t where) { a.put(i, where); });
  }
};

/// One block replaces the counts by their exclusive scan: the place of the first choice of each
/// expert and block in the grouped order.
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
      std::int32_t counts[items], inclusive[items];
      PLAIT_UNROLL
      for (int i = 0; i < items; ++i)
        inclusive[i] = counts[i] = at + i < size ? a.starts[at + i] : 0;
      b.scan(s.space, inclusive, add_counts{}, carry);
      b.sync();
      PLAIT_UNROLL
      for (int i = 0; i < items; ++i)
        if (at + i < size) {
          a.starts[at + i] = inclusive[i] - counts[i];
          if ((at + i) % a.blocks == 0) a.first[(at + i) / a.blocks] = inclusive[i] - counts[i];
        }
    }
    if (b.thread() == 0) a.first[a.experts] = carry;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
