// The routing kernel for few tokens: one block does everything.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/ops/routing/gpu/route_args.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// One block chooses the experts of all tokens and groups the choices.
/// Test: tests/unit/ops/routing/route_gpu_test.cpp
struct route_single_block {
  using args = route_args;
  static constexpr int warps = 8;
  static constexpr int threads = warps * warp_size;
  static constexpr int range = 2 * threads;
  static constexpr int max_tokens = 256;
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
    std::int32_t carry = 0, inclusive[2] = {0, 0};
    PLAIT_UNROLL
    for (int i = 0; i < 2; ++i)
      for (int w = 0; w < warps; ++w) inclusive[i] += s.counts[w][2 * b.thread() + i];
    b.scan(s.space, inclusive, add_counts{}, carry);
    PLAIT_UNROLL
    for (int i = 0; i < 2; ++i) {
      int const e = 2 * b.thread() + i;
      // `start` begins at the end of the expert; subtracting the counts of the warps, last one
      // first, gives the start of each warp.
      std::int32_t start = inclusive[i];
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
