// The layout of a page: keys and values of 64 tokens.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// Tokens in one page of keys and values, and the length of attention's key blocks.
inline constexpr std::int64_t page_tokens = 64;

/// The part of one layer in a page.
/// Shapes: keys [head][dim][token], so that a block of keys is a packed panel, then values
///   [head][token][dim]; together 2 heads dim page_tokens values
/// Cost: index arithmetic; nothing is checked
/// Test: tests/unit/ops/attention/paged_attention_test.cpp
struct page_layout {
  std::int64_t heads = 0;
  std::int64_t dim = 0;
  PLAIT_HD constexpr std::int64_t key(std::int64_t head, std::int64_t d, std::int64_t token) const {
    return (head * dim + d) * page_tokens + token;
  }
  PLAIT_HD constexpr std::int64_t value(std::int64_t head, std::int64_t token,
                                        std::int64_t d) const {
    return (heads * dim + head * dim) * page_tokens + token * dim + d;
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
