// What ops know of a ragged batch: where each sequence's rows are and where its state lives.
#pragma once

#include <plait/core/macros.hpp>

#include <cstddef>
#include <cstdint>

namespace plait::inline PLAIT_ABI {

/// The most tokens in one call: beyond it the places of expert choices would not fit their 32 bits.
inline constexpr std::int64_t max_call_tokens = std::int64_t{1} << 22;

/// Tokens in one page of keys and values, and the length of attention's key blocks.
inline constexpr std::int64_t page_tokens = 64;

/// `count` sequences whose new tokens lie behind one another in the rows of every activation. No padding exists. Offsets are in values.
template <class T>
struct sequences {
  std::int64_t count = 0;
  std::int64_t const* first_row = nullptr;  ///< sequence s has rows [first_row[s], first_row[s + 1])
  std::int64_t const* length = nullptr;     ///< tokens already cached: the position of its first new token
  T* const* state = nullptr;                ///< state[s] + state_offset: this layer's recurrent state
  std::int64_t state_offset = 0;
  std::byte* const* const* pages = nullptr;  ///< pages[s][p]: page p of all layers, in values of the execution policy's kv_type
  std::int64_t page_offset = 0;              ///< values before this layer's part

  std::int64_t tokens(std::int64_t s) const { return first_row[s + 1] - first_row[s]; }
  std::int64_t total() const { return first_row[count]; }
  T* state_of(std::int64_t s) const { return state[s] + state_offset; }
  /// Page p of sequence s, this layer's part; Value is Exec::kv_type.
  template <class Value>
  Value* page_of(std::int64_t s, std::int64_t p) const {
    return reinterpret_cast<Value*>(pages[s][p]) + page_offset;
  }
};

/// One layer's part of a page: keys [head][dim][token], so that a block of keys is a packed panel, then values [head][token][dim]; together
/// 2 heads dim page_tokens values.
struct page_layout {
  std::int64_t heads = 0, dim = 0;
  std::int64_t key(std::int64_t head, std::int64_t d, std::int64_t token) const { return (head * dim + d) * page_tokens + token; }
  std::int64_t value(std::int64_t head, std::int64_t token, std::int64_t d) const {
    return (heads * dim + head * dim) * page_tokens + token * dim + d;
  }
};

}  // namespace plait::inline PLAIT_ABI
