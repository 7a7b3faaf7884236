// The sequences of a call: the rows, the recurrent state and the pages of each.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/core/page_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN

/// Maximum of the tokens in one call: the indices of expert choices are 32 bits wide.
inline constexpr std::int64_t max_call_tokens = std::int64_t{1} << 22;

/// The element type of recurrent state for activations of type T: f32, and double in the reference.
template <class T>
using state_value = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// A ragged batch of `count` sequences. The new tokens of all sequences are the rows of every
/// activation, sequence after sequence, without padding.
/// Equation: sequence s has the rows [first_row[s], first_row[s + 1]) of every activation; its
///   first new token has position length[s]
/// Shapes: `first_row` [count + 1] and `length` [count] in tokens; `state` [count] points to values
///   of state_value<T>, `pages` [count][pages of a sequence] to values of the execution policy's
///   `kv_type` (core/page_layout.hpp); offsets are in values. A call has at most 2^22 tokens
///   (`max_call_tokens`). On a device the arrays are in its memory, and the host knows `rows`,
///   `longest`, `context` and `cached` (exec/device.hpp)
/// Errors: none; nothing is checked
/// Cost: a view: nothing is owned, nothing copied
/// Test: tests/unit/ops/attention/paged_attention_test.cpp, tests/unit/model/invariance_test.cpp
template <class T>
struct sequences {
  using state_type = state_value<T>;

  std::int64_t count = 0;
  std::int64_t const* first_row = nullptr;
  std::int64_t const* length = nullptr;      ///< tokens in the cache
  state_type* const* state = nullptr;        ///< of all layers
  std::int64_t state_offset = 0;             ///< of this layer
  std::byte* const* const* pages = nullptr;  ///< pages[s][p]: page p of all layers
  std::int64_t page_offset = 0;              ///< of this layer
  std::int64_t rows = -1;                    ///< sum over the sequences; -1: first_row[count]
  std::int64_t longest = 0;                  ///< maximum of the new tokens of a sequence
  std::int64_t context = 0;                  ///< bound of cached and new tokens of a sequence
  std::int64_t cached = -1;  ///< bound of cached tokens, 0 only where none has any; -1: unknown

  PLAIT_HD std::int64_t tokens(std::int64_t s) const { return first_row[s + 1] - first_row[s]; }
  std::int64_t total() const { return rows >= 0 ? rows : first_row[count]; }
  PLAIT_HD state_type* state_of(std::int64_t s) const { return state[s] + state_offset; }
  /// The part of this layer in page p of sequence s; Value is Exec::kv_type.
  template <class Value>
  PLAIT_HD Value* page_of(std::int64_t s, std::int64_t p) const {
    return reinterpret_cast<Value*>(pages[s][p]) + page_offset;
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
