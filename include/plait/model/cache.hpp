// The cache of one sequence: keys, values and recurrent state between calls, with snapshots, forks
// and truncation.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/memory.hpp>
#include <plait/core/page_layout.hpp>
#include <plait/core/sentence.hpp>
#include <plait/model/cache_layout.hpp>
#include <plait/model/cache_state.hpp>
#include <plait/model/snapshot.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The snapshots that a cache takes of itself, for truncate.
struct cache_options {
  int keep_snapshots = 0;              ///< their maximum; a new one replaces the oldest
  std::int64_t snapshot_interval = 1;  ///< minimum of the tokens between two; taken after a call
};

/// The cache of one sequence: keys and values in reference-counted, copy-on-write pages, and the
/// recurrent state, which has a fixed size and cannot be truncated, only restored. A pool makes it
/// (model/cache_pool.hpp). It can be moved; `fork` copies it.
///
/// After an error nothing has changed. A sequence, its snapshots and its pool may be destroyed in
/// any order. Reference counts have no locks: a pool with all its sequences and snapshots has one
/// caller at a time, forward included. After `restore`, `fork` and `truncate` call `reserve` before
/// the next call of forward.
///
/// ```cpp body
/// plait::cache_pool<small_model> pool({.max_page_bytes = 64 << 20});
/// plait::cache<small_model> sequence = pool.make({.keep_snapshots = 4, .snapshot_interval = 16});
/// sequence.reserve(100);  // room for 100 tokens: two pages
/// plait::snapshot<small_model> const before = sequence.snapshot();
/// plait::cache<small_model> other = sequence.fork();
/// sequence.restore(before);
/// sequence.reserve(100);
/// ```
///
/// Shapes: `length` and `capacity` in tokens; `state_values` in values of type T, `page_bytes` for
///   64 tokens of all layers. Jamba v0.1: a page is 2 MiB, a snapshot 17,432,576 bytes and its page
///   references
/// Errors:
///   - `a cache keeps 0 or more snapshots, at least 1 token apart; asked for … snapshots, …
///     tokens apart`: from `make`; model/page_pool.hpp has those of `reserve`
/// Cost: `reserve` allocates pages and copies at most one; `snapshot`, `restore` and `fork` copy
///   the state and the page references (`fork` also those of the snapshots) and evaluate nothing;
///   `truncate` costs at most as much; `advance` copies the state where it takes a snapshot
/// Test: tests/unit/model/cache_test.cpp
template <class T, class Memory>
class basic_cache {
 public:
  basic_cache(basic_cache&& other) noexcept { swap(other); }
  basic_cache& operator=(basic_cache&& other) noexcept {
    swap(other);
    return *this;
  }
  ~basic_cache() {
    if (!pool_) return;
    current_.drop(*pool_);
    for (auto& s : snapshots_) s.drop(*pool_);
  }

  /// Tokens in the cache.
  std::int64_t length() const { return current_.length; }
  /// Maximum of the length without another reserve.
  std::int64_t capacity() const {
    if (layout().page_bytes == 0) return std::numeric_limits<std::int64_t>::max();
    return tail_is_writable() ? static_cast<std::int64_t>(current_.pages.size()) * page_tokens
                              : current_.length;
  }
  cache_layout layout() const { return pool_->layout; }

  /// Makes room for `tokens` more tokens; copies the last page where other caches or snapshots hold
  /// it too.
  void reserve(std::int64_t tokens) {
    if (tokens < 0) throw error(sentence("reserve of {} tokens: must not be negative", tokens));
    if (tokens > std::numeric_limits<std::int64_t>::max() / 2 - current_.length)
      throw error(sentence("reserve of {} tokens: more than can be counted", tokens));
    if (layout().page_bytes == 0) return;
    std::size_t const before = current_.pages.size();
    std::size_t const needed =
        static_cast<std::size_t>((current_.length + tokens + page_tokens - 1) / page_tokens);
    pool_->require(static_cast<std::int64_t>(std::max(needed, before) - before) +
                   (tokens > 0 && !tail_is_writable()));
    try {
      current_.pages.reserve(needed);
      for (auto& s : snapshots_) s.pages.reserve(needed);
      if (tokens > 0 && !tail_is_writable()) copy_tail();
      while (current_.pages.size() < needed) current_.pages.push_back(pool_->acquire());
    } catch (std::bad_alloc const&) {
      release_pages(before);
      throw error(sentence("out of memory: no room for the page table of {} tokens", tokens));
    } catch (...) {
      release_pages(before);
      throw;
    }
  }

  /// A snapshot of the sequence.
  basic_snapshot<T, Memory> snapshot() const { return basic_snapshot<T, Memory>(pool_, current_); }
  /// Returns to a snapshot of this sequence, or of any other of the same pool.
  void restore(basic_snapshot<T, Memory> const& s) {
    if (s.pool_ != pool_) throw error("restore: the snapshot belongs to another cache pool");
    current_.assign(*pool_, s.state_);
    while (snapshot_count_ > 0 &&
           snapshots_[snapshot_count_ - 1].snapshot_id != current_.snapshot_id)
      snapshots_[--snapshot_count_].drop(*pool_);  // not in the restored past
  }
  /// A second sequence with the same past: pages are shared, the state is copied.
  basic_cache fork() const {
    basic_cache copy(pool_, options_);
    copy.current_.assign(*pool_, current_);
    for (std::size_t i = 0; i < snapshots_.size(); ++i)
      copy.snapshots_[i].assign(*pool_, snapshots_[i]);
    copy.snapshot_count_ = snapshot_count_;
    return copy;
  }
  /// Takes a snapshot for truncate; forward takes one every snapshot_interval tokens.
  void keep() {
    if (snapshots_.empty()) return;
    if (snapshot_count_ == snapshots_.size()) {
      std::rotate(snapshots_.begin(), snapshots_.begin() + 1, snapshots_.end());
      --snapshot_count_;
    }
    current_.snapshot_id = pool_->next_id();
    snapshots_[snapshot_count_++].assign(*pool_, current_);
  }
  /// Truncates the sequence to n tokens or fewer and returns the number of tokens to forward again
  /// to reach n: 0 without recurrent state; otherwise the sequence returns to its last snapshot at
  /// or before n, or to its beginning. plait::error unless n is in [0, length()].
  std::int64_t truncate(std::int64_t n) {
    if (n < 0 || n > current_.length)
      throw error(sentence("truncate to {} tokens: the sequence has {}", n, current_.length));
    if (n == current_.length) return 0;
    drop_snapshots_beyond(n);
    if (layout().state_values == 0) {
      cut_pages(n);
      return 0;
    }
    if (snapshot_count_ > 0) {
      current_.assign(*pool_, snapshots_[snapshot_count_ - 1]);
    } else {
      current_.drop(*pool_);
      Memory::clear(current_.state.data(), current_.state.size());
    }
    return n - current_.length;
  }

  // ---- for model::forward ----
  T* state() { return current_.state.data(); }
  /// Writes the addresses of the pages of tokens [0, tokens).
  void page_table(std::int64_t tokens, std::byte** table) {
    for (std::int64_t p = 0;
         p * page_tokens < tokens && p < static_cast<std::int64_t>(current_.pages.size()); ++p)
      table[p] = current_.pages[static_cast<std::size_t>(p)]->data.data();
  }
  /// Adds `tokens` tokens, whose keys, values and state are written, to the length; takes a
  /// snapshot where one is due.
  void advance(std::int64_t tokens) {
    if (tokens == 0) return;  // the last page keeps its writer
    std::int64_t const first_page = current_.length / page_tokens;
    current_.length += tokens;
    for (std::int64_t p = first_page;
         p < static_cast<std::int64_t>(current_.pages.size()) && p * page_tokens < current_.length;
         ++p) {
      detail::page<Memory>& page = *current_.pages[static_cast<std::size_t>(p)];
      page.writer = id_;
      page.filled = std::min(page_tokens, current_.length - p * page_tokens);
    }
    std::int64_t const last = snapshot_count_ > 0 ? snapshots_[snapshot_count_ - 1].length : 0;
    if (!snapshots_.empty() && current_.length - last >= options_.snapshot_interval) keep();
  }

 private:
  template <class, class>
  friend class basic_cache_pool;
  using state_buffer = typename Memory::template buffer<T>;

  basic_cache(std::shared_ptr<detail::page_pool<Memory>> pool, cache_options options)
      : pool_(std::move(pool)), options_(options), id_(pool_->next_id()) {
    if (options_.keep_snapshots < 0 || options_.snapshot_interval < 1)
      throw error(
          sentence("a cache keeps 0 or more snapshots, at least 1 token apart; asked for {} "
                   "snapshots, {} tokens apart",
                   options_.keep_snapshots, options_.snapshot_interval));
    current_.state = state_buffer(pool_->layout.state_values);
    snapshots_.resize(static_cast<std::size_t>(options_.keep_snapshots));
    for (auto& s : snapshots_) s.state = state_buffer(pool_->layout.state_values);
  }

  bool tail_is_writable() const {
    std::int64_t const slot = current_.length % page_tokens;
    if (slot == 0 || current_.pages.empty()) return true;
    detail::page<Memory> const& tail =
        *current_.pages[static_cast<std::size_t>(current_.length / page_tokens)];
    return tail.holders == 1 || (tail.writer == id_ && tail.filled == slot);
  }
  void copy_tail() {
    detail::page<Memory>*& tail =
        current_.pages[static_cast<std::size_t>(current_.length / page_tokens)];
    detail::page<Memory>* const own = pool_->acquire();
    Memory::copy(std::as_const(tail->data).data(), tail->data.size(), own->data.data());
    pool_->release(std::exchange(tail, own));
  }
  /// Releases all pages after the first `pages`.
  void release_pages(std::size_t pages) {
    while (current_.pages.size() > pages) {
      pool_->release(current_.pages.back());
      current_.pages.pop_back();
    }
  }
  void cut_pages(std::int64_t n) {
    release_pages(static_cast<std::size_t>((n + page_tokens - 1) / page_tokens));
    current_.length = n;
    current_.snapshot_id = snapshot_count_ > 0 ? snapshots_[snapshot_count_ - 1].snapshot_id : 0;
  }
  void drop_snapshots_beyond(std::int64_t n) {
    while (snapshot_count_ > 0 && snapshots_[snapshot_count_ - 1].length > n)
      snapshots_[--snapshot_count_].drop(*pool_);
  }
  void swap(basic_cache& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(options_, other.options_);
    std::swap(id_, other.id_);
    std::swap(current_, other.current_);
    std::swap(snapshots_, other.snapshots_);
    std::swap(snapshot_count_, other.snapshot_count_);
  }

  std::shared_ptr<detail::page_pool<Memory>> pool_;
  cache_options options_;
  std::int64_t id_ = 0;
  detail::cache_state<T, Memory> current_;
  std::vector<detail::cache_state<T, Memory>> snapshots_;
  std::size_t snapshot_count_ = 0;
};

/// The cache of a sequence of a model, in the memory of its execution policy.
template <class Model>
using cache = basic_cache<typename Model::state_type, typename Model::memory>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
