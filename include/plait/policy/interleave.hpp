// Jamba's schedule: which layer gets which mixer and which feed-forward.
#pragma once

#include <plait/core/prologue.hpp>

namespace plait {

/// Jamba's schedule, in the paper's letters: `blocks` blocks of l = layers_per_block layers,
/// attention : recurrent = a : m = attend : recur, a mixture of experts every e = moe_every layers.
///
/// An offset of -1 is the default, (m+1)/2 and e-1; 0 is a legal offset. moe_every = 0: no layer
/// routes.
/// Equation: in the paper's letters l = layers_per_block, a = attend, m = recur, e = moe_every.
///   Layer i attends if i mod (a + m) is in [attend_offset, attend_offset + a), and routes if i mod
///   e = moe_offset. The default offsets (-1) are (m + 1) / 2 and e - 1
/// Shapes: `mixer_at` is 0 for the attention slot and 1 for the recurrent one, `ffn_at` 0 for the
///   dense and 1 for the sparse
/// Errors: none here; see check.hpp
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp
struct interleave {
  int blocks = 1, layers_per_block = 0, attend = 0, recur = 0, moe_every = 0, attend_offset = -1,
      moe_offset = -1;

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
