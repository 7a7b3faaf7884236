// Jamba's schedule: the mixer and the feed-forward of each layer.
#pragma once

#include <plait/core/prologue.hpp>

namespace plait {

/// Jamba's schedule: blocks of layers with attention and recurrence at the ratio a : m, and a
/// mixture of experts in every e-th layer.
/// Equation: in the paper's letters l = layers_per_block, a = attend, m = recur, e = moe_every.
///   Layer i has attention if i mod (a + m) is in [attend_offset, attend_offset + a), and a mixture
///   of experts if i mod e = moe_offset; with e = 0 no layer has. An offset of -1 stands for the
///   default, (m + 1) / 2 and e - 1
/// Errors: none; check.hpp has the rules
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp
struct interleave {
  int blocks = 1;
  int layers_per_block = 0;
  int attend = 0;
  int recur = 0;
  int moe_every = 0;
  int attend_offset = -1;
  int moe_offset = -1;

  constexpr int layers() const { return blocks * layers_per_block; }
  constexpr int period() const { return attend + recur; }
  constexpr int first_attention() const {
    return attend_offset >= 0 ? attend_offset : (recur + 1) / 2;
  }
  constexpr int first_moe() const { return moe_offset >= 0 ? moe_offset : moe_every - 1; }

  /// 0: the attention slot, 1: the recurrent slot.
  constexpr int mixer_at(int i) const {
    int const r = period() > 0 ? i % period() : 0;
    return r >= first_attention() && r < first_attention() + attend ? 0 : 1;
  }
  /// 0: the dense slot, 1: the sparse slot.
  constexpr int ffn_at(int i) const {
    return moe_every > 0 && i % moe_every == first_moe() ? 1 : 0;
  }

  friend constexpr bool operator==(interleave const&, interleave const&) = default;
};

}  // namespace plait

#include <plait/core/epilogue.hpp>
