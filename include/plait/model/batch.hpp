// A ragged batch: which sequences go on, with which tokens, and which rows of the result are
// wanted.
// Shapes: `add` returns the sequence's first output row; rows follow in the order of adding, a
//   sequence's own by position, chosen ones in the order given. Ids are copied; embeddings [tokens,
//   d_model] are read where they are when forward runs. A sequence must stay where it is until then
// Errors:
//   - `output row … was chosen of a sequence with … new tokens`: then nothing was added
// Cost: everything a call needs besides the workspace is allocated here; `clear` keeps the room,
//   and after `reserve` add allocates nothing
// Test: tests/unit/model/model_test.cpp, tests/unit/model/invariance_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/view.hpp>
#include <plait/model/cache.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// Which positions of a sequence's new tokens give an output row.
enum class rows : unsigned char { none, last, all };

/// Lists (sequence, tokens). Tokens are ids or embeddings; ids are copied, embeddings are read
/// where they are when forward runs. A chosen row that is not there is a plait::error, and then
/// nothing was added. On a device, embeddings are in its memory; ids are not. Everything is
/// allocated here, nothing in forward; clear() keeps the room. A cache must stay where it is from
/// add to forward: keep a growing vector of caches from moving them.
template <class T, class Memory = host_memory>
class basic_batch {
 public:
  using cache_type = basic_cache<state_value<T>, Memory>;

  /// Adds a sequence with ids. Returns the first of its output rows.
  std::int64_t add(cache_type& sequence, std::span<std::int32_t const> ids,
                   plait::rows wanted = plait::rows::last) {
    entries_.push_back({&sequence, {}});
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    return close(sequence, static_cast<std::int64_t>(ids.size()), wanted);
  }
  /// Adds a sequence with embeddings [tokens, d_model] instead of ids.
  std::int64_t add(cache_type& sequence, matrix_view<T const> embeddings,
                   plait::rows wanted = plait::rows::last) {
    entries_.push_back({&sequence, embeddings});
    ids_.resize(ids_.size() + static_cast<std::size_t>(embeddings.rows()), 0);
    return close(sequence, embeddings.rows(), wanted);
  }
  /// Adds a sequence of which only the chosen positions among the new tokens give output rows, in
  /// the order given.
  template <class Tokens>
  std::int64_t add(cache_type& sequence, Tokens const& tokens,
                   std::span<std::int64_t const> chosen) {
    std::int64_t const base = tokens_count(), count = new_tokens(tokens);
    for (std::int64_t c : chosen)
      if (c < 0 || c >= count)
        throw error("output row " + std::to_string(c) + " was chosen of a sequence with " +
                    std::to_string(count) + " new tokens");
    std::int64_t const first = add(sequence, tokens, plait::rows::none);
    for (std::int64_t c : chosen) wanted_.push_back(base + c);
    return first;
  }
  void clear() {
    entries_.clear();
    ids_.clear();
    first_row_.assign(1, 0);
    length_.clear();
    state_.clear();
    wanted_.clear();
  }
  /// Room for so many sequences of up to `context` tokens each, with `tokens` new ones in all and
  /// as many output rows: until then add allocates nothing.
  void reserve(std::int64_t sequences, std::int64_t tokens, std::int64_t context) {
    auto const count = static_cast<std::size_t>(sequences);
    entries_.reserve(count);
    ids_.reserve(static_cast<std::size_t>(tokens));
    first_row_.reserve(count + 1);
    length_.reserve(count);
    state_.reserve(count);
    wanted_.reserve(static_cast<std::size_t>(tokens));
    make_tables(count);
    for (auto& pages : pages_)
      pages.reserve(static_cast<std::size_t>((context + page_tokens - 1) / page_tokens));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  /// New tokens of all sequences.
  std::int64_t tokens_count() const { return first_row_.back(); }
  /// Output rows of all sequences.
  std::int64_t rows_wanted() const { return static_cast<std::int64_t>(wanted_.size()); }

 private:
  template <auto, class>
  friend class model;

  struct entry {
    cache_type* sequence;
    matrix_view<T const> embeddings;  // empty: ids
  };

  static std::int64_t new_tokens(std::span<std::int32_t const> ids) {
    return static_cast<std::int64_t>(ids.size());
  }
  static std::int64_t new_tokens(matrix_view<T const> embeddings) { return embeddings.rows(); }

  std::int64_t close(cache_type& sequence, std::int64_t tokens, plait::rows wanted) {
    std::int64_t const first = first_row_.back(), output = rows_wanted();
    first_row_.push_back(first + tokens);
    length_.push_back(sequence.length());
    state_.push_back(nullptr);
    make_tables(entries_.size());
    pages_[entries_.size() - 1].resize(
        static_cast<std::size_t>((sequence.length() + tokens + page_tokens - 1) / page_tokens));
    if (wanted == plait::rows::all)
      for (std::int64_t t = 0; t < tokens; ++t) wanted_.push_back(first + t);
    if (wanted == plait::rows::last && tokens > 0) wanted_.push_back(first + tokens - 1);
    return output;
  }

  /// Page tables for so many sequences; clear() leaves them.
  void make_tables(std::size_t count) {
    if (count <= pages_.size()) return;
    pages_.resize(count);
    table_.resize(count);
    sorted_.resize(count);
  }

  bool has_ids_only() const {
    return std::all_of(entries_.begin(), entries_.end(),
                       [](entry const& e) { return e.embeddings.rows() == 0; });
  }
  /// The index of an entry whose sequence an earlier one has too, or -1.
  std::int64_t repeated() {
    for (std::size_t i = 0; i < entries_.size(); ++i)
      sorted_[i] = {entries_[i].sequence, static_cast<std::int64_t>(i)};
    std::sort(sorted_.begin(), sorted_.begin() + size());
    auto const twice =
        std::adjacent_find(sorted_.begin(), sorted_.begin() + size(),
                           [](auto const& a, auto const& b) { return a.first == b.first; });
    return twice == sorted_.begin() + size() ? -1 : (twice + 1)->second;
  }

  std::vector<entry> entries_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> first_row_ = {0}, length_, wanted_;
  std::vector<state_value<T>*> state_;
  std::vector<std::vector<std::byte*>> pages_;
  std::vector<std::byte* const*> table_;
  std::vector<std::pair<cache_type const*, std::int64_t>> sorted_;
};

/// The batch of a model's type.
template <class Model>
using batch = basic_batch<typename Model::value_type, typename Model::memory>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
