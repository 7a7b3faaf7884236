// A ragged batch: sequences with their new tokens, and the output rows.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/page_layout.hpp>
#include <plait/core/sentence.hpp>
#include <plait/core/sequences.hpp>
#include <plait/core/view.hpp>
#include <plait/model/cache.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// Which new tokens of a sequence have an output row.
enum class rows : unsigned char { none, last, all };

/// A list of (sequence, new tokens). Tokens are ids, which are copied, or embeddings, which forward
/// reads in place from the memory of the execution policy. The batch refers to the caches by
/// address, so a cache must not move between add and forward: a vector of caches must not grow.
/// Shapes: ids [tokens], embeddings [tokens, d_model]. `add` returns the first output row of the
///   sequence; output rows are in the order of `add`; within a sequence they are in the order of
///   positions, or in the given order if they were chosen
/// Errors:
///   - `output row … was chosen from a sequence with … new tokens`: the batch is unchanged
/// Cost: the batch allocates everything that a call needs besides the workspace; `clear` keeps the
///   memory, and after `reserve` add allocates nothing
/// Test: tests/unit/model/model_test.cpp, tests/unit/model/invariance_test.cpp
template <class T, class Memory = host_memory>
class basic_batch {
 public:
  using cache_type = basic_cache<state_value<T>, Memory>;

  /// Adds a sequence with ids.
  std::int64_t add(cache_type& sequence, std::span<std::int32_t const> ids,
                   plait::rows outputs = plait::rows::last) {
    entries_.push_back({&sequence, {}});
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    return end_entry(sequence, static_cast<std::int64_t>(ids.size()), outputs);
  }
  /// Adds a sequence with embeddings.
  std::int64_t add(cache_type& sequence, matrix_view<T const> embeddings,
                   plait::rows outputs = plait::rows::last) {
    entries_.push_back({&sequence, embeddings});
    ids_.resize(ids_.size() + static_cast<std::size_t>(embeddings.rows()), 0);
    return end_entry(sequence, embeddings.rows(), outputs);
  }
  /// Adds a sequence with the chosen positions among its new tokens as output rows.
  template <class Tokens>
  std::int64_t add(cache_type& sequence, Tokens const& tokens,
                   std::span<std::int64_t const> chosen) {
    std::int64_t const base = tokens_count();
    std::int64_t const count = new_tokens(tokens);
    for (std::int64_t c : chosen)
      if (c < 0 || c >= count)
        throw error(
            sentence("output row {} was chosen from a sequence with {} new tokens", c, count));
    std::int64_t const first = add(sequence, tokens, plait::rows::none);
    for (std::int64_t c : chosen) output_rows_.push_back(base + c);
    return first;
  }
  void clear() {
    entries_.clear();
    ids_.clear();
    first_row_.assign(1, 0);
    length_.clear();
    state_.clear();
    output_rows_.clear();
  }
  /// Makes room for `sequences` sequences of up to `context` tokens each, with `tokens` new tokens
  /// in total and as many output rows.
  void reserve(std::int64_t sequences, std::int64_t tokens, std::int64_t context) {
    auto const count = static_cast<std::size_t>(sequences);
    entries_.reserve(count);
    ids_.reserve(static_cast<std::size_t>(tokens));
    first_row_.reserve(count + 1);
    length_.reserve(count);
    state_.reserve(count);
    output_rows_.reserve(static_cast<std::size_t>(tokens));
    make_page_tables(count);
    for (auto& pages : pages_)
      pages.reserve(static_cast<std::size_t>((context + page_tokens - 1) / page_tokens));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  /// New tokens of all sequences.
  std::int64_t tokens_count() const { return first_row_.back(); }
  /// Output rows of all sequences.
  std::int64_t rows_wanted() const { return static_cast<std::int64_t>(output_rows_.size()); }

 private:
  template <auto, class>
  friend class model;

  struct entry {
    cache_type* sequence;
    matrix_view<T const> embeddings;  // empty: the tokens are ids
  };

  static std::int64_t new_tokens(std::span<std::int32_t const> ids) {
    return static_cast<std::int64_t>(ids.size());
  }
  static std::int64_t new_tokens(matrix_view<T const> embeddings) { return embeddings.rows(); }

  /// Lists rows, state and pages of the entry; returns its first output row.
  std::int64_t end_entry(cache_type& sequence, std::int64_t tokens, plait::rows outputs) {
    std::int64_t const first = first_row_.back();
    std::int64_t const first_output = rows_wanted();
    first_row_.push_back(first + tokens);
    length_.push_back(sequence.length());
    state_.push_back(nullptr);
    make_page_tables(entries_.size());
    pages_[entries_.size() - 1].resize(
        static_cast<std::size_t>((sequence.length() + tokens + page_tokens - 1) / page_tokens));
    if (outputs == plait::rows::all)
      for (std::int64_t t = 0; t < tokens; ++t) output_rows_.push_back(first + t);
    if (outputs == plait::rows::last && tokens > 0) output_rows_.push_back(first + tokens - 1);
    return first_output;
  }

  /// Page tables for `count` sequences; clear() keeps them.
  void make_page_tables(std::size_t count) {
    if (count <= pages_.size()) return;
    pages_.resize(count);
    table_.resize(count);
    sorted_.resize(count);
  }

  bool has_ids_only() const {
    return std::all_of(entries_.begin(), entries_.end(),
                       [](entry const& e) { return e.embeddings.rows() == 0; });
  }
  /// The index of an entry whose sequence is that of an earlier entry; -1: none.
  std::int64_t duplicate() {
    for (std::size_t i = 0; i < entries_.size(); ++i)
      sorted_[i] = {entries_[i].sequence, static_cast<std::int64_t>(i)};
    std::sort(sorted_.begin(), sorted_.begin() + size());
    auto const found =
        std::adjacent_find(sorted_.begin(), sorted_.begin() + size(),
                           [](auto const& a, auto const& b) { return a.first == b.first; });
    return found == sorted_.begin() + size() ? -1 : (found + 1)->second;
  }

  std::vector<entry> entries_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int64_t> first_row_ = {0};
  std::vector<std::int64_t> length_;
  std::vector<std::int64_t> output_rows_;
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
