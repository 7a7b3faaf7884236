// What ops know of a ragged batch: where each sequence's rows are, and where its state and its
// pages lie.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN

/// The most tokens in one call: beyond it the places of expert choices would not fit their 32 bits.
inline constexpr std::int64_t max_call_tokens = std::int64_t{1} << 22;

/// Tokens in one page of keys and values, and the length of attention's key blocks.
inline constexpr std::int64_t page_tokens = 64;

/// What recurrent state is kept as, whatever the activations T are: f32, and double in the
/// reference.
template <class T>
using state_value = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// `count` sequences whose new tokens lie behind one another in the rows of every activation. No
/// padding exists. Offsets are in values.
/// Equation: sequence s has the rows [first_row[s], first_row[s + 1]) of every activation; its
///   first new token is at position length[s]
/// Shapes: `first_row` [count + 1] and `length` [count] in tokens; `state` points to values of
///   state_value<T> (float; double for double), `pages` to those of the execution policy's
///   `kv_type`, the Value to ask for. A page has 64 tokens (`page_tokens`), of one layer keys
///   [head][dim][token], then values [head][token][dim]. A call has at most 2^22 tokens
///   (`max_call_tokens`). On a device the arrays lie there, and `rows`, `longest` and `context` are
///   what this machine knows of them
/// Errors: none; nothing is checked here
/// Cost: a view: nothing is owned, nothing copied
/// Test: tests/unit/ops/attention/paged_attention_test.cpp (where keys and values lie),
/// tests/unit/model/invariance_test.cpp
template <class T>
struct sequences {
  using state_type = state_value<T>;

  std::int64_t count = 0;
  std::int64_t const* first_row =
      nullptr;  ///< sequence s has rows [first_row[s], first_row[s + 1])
  std::int64_t const* length =
      nullptr;  ///< tokens already cached: the position of its first new token
  state_type* const* state = nullptr;  ///< state[s] + state_offset: this layer's recurrent state
  std::int64_t state_offset = 0;
  std::byte* const* const* pages =
      nullptr;  ///< pages[s][p]: page p of all layers, in values of the execution policy's kv_type
  std::int64_t page_offset = 0;  ///< values before this layer's part
  /// Where the arrays above are in a device's memory, what this machine has to know of them
  /// (exec/device.hpp): rows of all sequences, the most new tokens of one, a number of tokens that
  /// no sequence is longer than, the new ones included, and one that none has more of cached: 0
  /// only where none has any, -1 where nothing is known.
  std::int64_t rows = -1, longest = 0, context = 0, cached = -1;

  PLAIT_HD std::int64_t tokens(std::int64_t s) const { return first_row[s + 1] - first_row[s]; }
  std::int64_t total() const { return rows >= 0 ? rows : first_row[count]; }
  PLAIT_HD state_type* state_of(std::int64_t s) const { return state[s] + state_offset; }
  /// Page p of sequence s, this layer's part; Value is Exec::kv_type.
  template <class Value>
  PLAIT_HD Value* page_of(std::int64_t s, std::int64_t p) const {
    return reinterpret_cast<Value*>(pages[s][p]) + page_offset;
  }
};

/// What a call of forward reads beside weights and activations.
template <class T>
struct call_inputs {
  sequences<T> seqs;
  std::int32_t const* ids = nullptr;     ///< [rows]; of rows that are embeddings, anything
  std::int64_t const* wanted = nullptr;  ///< [outputs], the rows of the result
  std::int64_t outputs = 0;
};

/// What makes one call of forward like another one: then a device may run what it kept of that one
/// (exec/device.hpp).
struct call_shape {
  void const *model = nullptr, *out = nullptr;
  std::int64_t sequences = 0, rows = 0, longest = 0, outputs = 0,
               context = 0;  ///< longest: as in `sequences`
  bool repeatable = false;   ///< nobody watches, and all tokens are ids
  friend bool operator==(call_shape const&, call_shape const&) = default;
};

/// One layer's part of a page: keys [head][dim][token], so that a block of keys is a packed panel,
/// then values [head][token][dim]; together 2 heads dim page_tokens values.
struct page_layout {
  std::int64_t heads = 0, dim = 0;
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
