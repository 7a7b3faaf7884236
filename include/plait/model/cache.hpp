// What a sequence carries between calls: pages of keys and values (reference-counted, copy on
// write), recurrent state, snapshots.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/memory.hpp>
#include <plait/core/sequences.hpp>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// How much one sequence needs: values of recurrent state, and bytes of a page of keys and values
/// over all layers.
struct cache_layout {
  std::int64_t state_values = 0, page_bytes = 0;
  friend bool operator==(cache_layout const&, cache_layout const&) = default;
};

/// Bytes of memory of this machine; the largest value there is where nobody says.
inline std::int64_t machine_memory() {
#if defined(_SC_PHYS_PAGES)
  std::int64_t const pages = ::sysconf(_SC_PHYS_PAGES), bytes = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && bytes > 0) return pages * bytes;
#endif
  return std::numeric_limits<std::int64_t>::max();
}

/// How much memory a pool may use.
struct cache_pool_options {
  std::int64_t max_page_bytes = machine_memory();  ///< pages beyond this are refused
};

/// Which snapshots a cache keeps of itself, for truncate.
struct cache_options {
  int keep_snapshots = 0;              ///< how many; the oldest gives way
  std::int64_t snapshot_interval = 1;  ///< at least so many tokens apart, each at the end of a call
};

namespace detail {

/// Keys and values of page_tokens tokens, shared by caches and snapshots. Only one cache, the
/// writer, may go on writing behind `filled` while others hold the page too: they read what was
/// there before.
template <class Memory>
struct page {
  typename Memory::template buffer<std::byte> data;
  std::int64_t holders = 0, writer = 0, filled = 0;
};

template <class Memory>
class page_pool {
 public:
  using page = detail::page<Memory>;

  page_pool(cache_layout of, cache_pool_options options) : layout(of), options_(options) {
    // What is this machine's memory says nothing of a device's, which says itself what is free.
    if constexpr (says_what_is_free)
      if (options.max_page_bytes == machine_memory())
        options_.max_page_bytes = std::numeric_limits<std::int64_t>::max();
  }

  /// Refuses before anything is allocated.
  void require(std::int64_t pages) const {
    std::int64_t const each = layout.page_bytes,
                       fresh = pages - static_cast<std::int64_t>(free_.size());
    if (fresh > 0 && fresh > (options_.max_page_bytes - bytes_) / each)
      throw error("the cache pool is full: " + std::to_string(bytes_) + " of " +
                  std::to_string(options_.max_page_bytes) + " bytes are in use, " +
                  std::to_string(fresh) + " more pages of " + std::to_string(page_tokens) +
                  " tokens need " + std::to_string(each) + " each");
    if constexpr (says_what_is_free)
      if (fresh > 0) Memory::require(fresh * each, "room for so many more keys and values");
  }
  page* acquire() {
    if (free_.empty()) {
      auto fresh = std::make_unique<page>();
      fresh->data = typename Memory::template buffer<std::byte>(layout.page_bytes);
      free_.reserve(all_.size() + 1);
      all_.push_back(std::move(fresh));
      free_.push_back(all_.back().get());
      bytes_ += layout.page_bytes;
    }
    page* const p = free_.back();
    free_.pop_back();
    p->holders = 1;
    p->writer = p->filled = 0;
    return p;
  }
  void release(page* p) noexcept {
    if (--p->holders == 0) free_.push_back(p);  // never grows: acquire reserved the room
  }

  cache_layout const layout;
  std::int64_t bytes() const { return bytes_; }
  std::int64_t pages_in_use() const {
    return static_cast<std::int64_t>(all_.size() - free_.size());
  }
  std::int64_t next_id() { return ++last_id_; }

 private:
  static constexpr bool says_what_is_free = requires { Memory::require(std::int64_t{}, ""); };
  cache_pool_options options_;
  std::vector<std::unique_ptr<page>> all_;
  std::vector<page*> free_;
  std::int64_t bytes_ = 0, last_id_ = 0;
};

/// A sequence at one moment: recurrent state, references to pages, length.
template <class T, class Memory>
struct cache_state {
  using pool_type = page_pool<Memory>;

  typename Memory::template buffer<T> state;
  std::vector<page<Memory>*> pages;
  std::int64_t length = 0;
  std::int64_t last_kept =
      0;  ///< names the last moment that was kept on the way here, this one included; 0: none

  void drop(pool_type& pool) noexcept {
    for (page<Memory>* p : pages) pool.release(p);
    pages.clear();
    length = last_kept = 0;
  }
  /// Takes on another moment's content. Allocates nothing if state and room for the pages are
  /// there.
  void assign(pool_type& pool, cache_state const& other) {
    std::size_t const count =
        std::min(other.pages.size(),
                 static_cast<std::size_t>((other.length + page_tokens - 1) / page_tokens));
    if (state.size() != other.state.size())
      state = typename Memory::template buffer<T>(other.state.size());
    pages.reserve(count);
    for (std::size_t i = 0; i < count; ++i) ++other.pages[i]->holders;
    drop(pool);
    pages.assign(other.pages.begin(), other.pages.begin() + static_cast<std::ptrdiff_t>(count));
    if (state.size() > 0)
      Memory::copy(std::as_const(other.state).data(), state.size(), state.data());
    length = other.length;
    last_kept = other.last_kept;
  }
};

}  // namespace detail

template <class T, class Memory = host_memory>
class basic_cache;

/// A sequence as it was: a copy of its recurrent state and references to its pages. Keeps its pages
/// alive on its own.
template <class T, class Memory = host_memory>
class basic_snapshot {
 public:
  basic_snapshot(basic_snapshot&& other) noexcept
      : pool_(std::move(other.pool_)), at_(std::move(other.at_)) {
    other.at_ = {};
  }
  basic_snapshot& operator=(basic_snapshot&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(at_, other.at_);
    return *this;
  }
  ~basic_snapshot() {
    if (pool_) at_.drop(*pool_);
  }

  std::int64_t length() const { return at_.length; }
  /// Bytes of its own: recurrent state, header, page references. The pages are shared.
  std::int64_t bytes() const {
    return at_.state.size() * std::int64_t{sizeof(T)} + std::int64_t{sizeof(*this)} +
           static_cast<std::int64_t>(at_.pages.capacity() * sizeof(void*));
  }

 private:
  friend class basic_cache<T, Memory>;
  basic_snapshot(std::shared_ptr<detail::page_pool<Memory>> pool,
                 detail::cache_state<T, Memory> const& from)
      : pool_(std::move(pool)) {
    at_.assign(*pool_, from);
  }
  std::shared_ptr<detail::page_pool<Memory>> pool_;
  detail::cache_state<T, Memory> at_;
};

/// One sequence. Made by a pool, movable, not copied by accident: fork() says so.
///
/// Keys and values live in reference-counted, copy-on-write pages; the state of recurrent layers is
/// of fixed size and cannot be cut back, only remembered. Everything that allocates is in reserve,
/// snapshot, restore and fork; forward allocates nothing. Reference counts have no locks: a pool
/// with all its sequences and snapshots has one caller at a time, forward included.
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
    now_.drop(*pool_);
    for (auto& m : kept_) m.drop(*pool_);
  }

  /// Tokens so far.
  std::int64_t length() const { return now_.length; }
  /// Tokens that fit without another reserve.
  std::int64_t capacity() const {
    if (layout().page_bytes == 0) return std::numeric_limits<std::int64_t>::max();
    return tail_is_writable() ? static_cast<std::int64_t>(now_.pages.size()) * page_tokens
                              : now_.length;
  }
  cache_layout layout() const { return pool_->layout; }

  /// Room for `tokens` more tokens; copies the last page if others hold it. plait::error where the
  /// pool or memory is full, or `tokens` is negative: then nothing has changed.
  void reserve(std::int64_t tokens) {
    if (tokens < 0)
      throw error("reserve of " + std::to_string(tokens) + " tokens: must not be negative");
    if (tokens > std::numeric_limits<std::int64_t>::max() / 2 - now_.length)
      throw error("reserve of " + std::to_string(tokens) + " tokens: more than can be counted");
    if (layout().page_bytes == 0) return;
    std::size_t const before = now_.pages.size(),
                      needed = static_cast<std::size_t>((now_.length + tokens + page_tokens - 1) /
                                                        page_tokens);
    pool_->require(static_cast<std::int64_t>(std::max(needed, before) - before) +
                   (tokens > 0 && !tail_is_writable()));
    try {
      now_.pages.reserve(needed);
      for (auto& m : kept_) m.pages.reserve(needed);
      if (tokens > 0 && !tail_is_writable()) copy_tail();
      while (now_.pages.size() < needed) now_.pages.push_back(pool_->acquire());
    } catch (std::bad_alloc const&) {
      give_back(before);
      throw error("out of memory: no room for the page table of " + std::to_string(tokens) +
                  " tokens");
    } catch (...) {
      give_back(before);
      throw;
    }
  }

  /// The sequence as it is now; evaluates nothing.
  basic_snapshot<T, Memory> snapshot() const { return basic_snapshot<T, Memory>(pool_, now_); }
  /// Back to a snapshot of this sequence, or of any other of the same pool (another pool's is a
  /// plait::error); evaluates nothing. Call reserve before going on.
  void restore(basic_snapshot<T, Memory> const& s) {
    if (s.pool_ != pool_) throw error("restore: the snapshot belongs to another cache pool");
    now_.assign(*pool_, s.at_);
    while (kept_count_ > 0 && kept_[kept_count_ - 1].last_kept != now_.last_kept)
      kept_[--kept_count_].drop(*pool_);  // not on the way here
  }
  /// A second sequence with the same past: pages are shared, the state is copied. Call reserve
  /// before going on with it.
  basic_cache fork() const {
    basic_cache copy(pool_, options_);
    copy.now_.assign(*pool_, now_);
    for (std::size_t i = 0; i < kept_.size(); ++i) copy.kept_[i].assign(*pool_, kept_[i]);
    copy.kept_count_ = kept_count_;
    return copy;
  }
  /// Remembers this moment for truncate, as forward does by itself every snapshot_interval tokens;
  /// the oldest remembered one gives way.
  void keep() {
    if (kept_.empty()) return;
    if (kept_count_ == kept_.size()) {
      std::rotate(kept_.begin(), kept_.begin() + 1, kept_.end());
      --kept_count_;
    }
    now_.last_kept = pool_->next_id();
    kept_[kept_count_++].assign(*pool_, now_);
  }
  /// Cuts the sequence back towards n tokens and returns how many tokens the caller has to forward
  /// again to stand at n. Without recurrent state that is 0; with it, the cache returns to the
  /// nearest moment it kept at or before n, or to its beginning. plait::error unless n is in [0,
  /// length()]. Call reserve before going on.
  std::int64_t truncate(std::int64_t n) {
    if (n < 0 || n > now_.length)
      throw error("truncate to " + std::to_string(n) + " tokens: the sequence has " +
                  std::to_string(now_.length));
    if (n == now_.length) return 0;
    forget_kept_beyond(n);
    if (layout().state_values == 0) {
      cut_pages(n);
      return 0;
    }
    if (kept_count_ > 0) {
      now_.assign(*pool_, kept_[kept_count_ - 1]);
    } else {
      now_.drop(*pool_);
      Memory::clear(now_.state.data(), now_.state.size());
    }
    return n - now_.length;
  }

  // ---- for model::forward
  // --------------------------------------------------------------------------------------------------------------
  T* state() { return now_.state.data(); }
  /// Writes the addresses of the pages that hold tokens [0, tokens) of this sequence.
  void page_table(std::int64_t tokens, std::byte** table) {
    for (std::int64_t p = 0;
         p * page_tokens < tokens && p < static_cast<std::int64_t>(now_.pages.size()); ++p)
      table[p] = now_.pages[static_cast<std::size_t>(p)]->data.data();
  }
  /// The new tokens are in the pages and the state: counts them, and keeps this moment if it is
  /// time.
  void advance(std::int64_t tokens) {
    if (tokens == 0) return;  // nothing was written: the tail stays its writer's
    std::int64_t const first_page = now_.length / page_tokens;
    now_.length += tokens;
    for (std::int64_t p = first_page;
         p < static_cast<std::int64_t>(now_.pages.size()) && p * page_tokens < now_.length; ++p) {
      detail::page<Memory>& page = *now_.pages[static_cast<std::size_t>(p)];
      page.writer = id_;
      page.filled = std::min(page_tokens, now_.length - p * page_tokens);
    }
    std::int64_t const last = kept_count_ > 0 ? kept_[kept_count_ - 1].length : 0;
    if (!kept_.empty() && now_.length - last >= options_.snapshot_interval) keep();
  }

 private:
  template <class, class>
  friend class basic_cache_pool;
  using state_buffer = typename Memory::template buffer<T>;

  basic_cache(std::shared_ptr<detail::page_pool<Memory>> pool, cache_options options)
      : pool_(std::move(pool)), options_(options), id_(pool_->next_id()) {
    if (options_.keep_snapshots < 0 || options_.snapshot_interval < 1)
      throw error("a cache keeps 0 or more snapshots, at least 1 token apart; asked for " +
                  std::to_string(options_.keep_snapshots) + " snapshots, " +
                  std::to_string(options_.snapshot_interval) + " tokens apart");
    now_.state = state_buffer(pool_->layout.state_values);
    kept_.resize(static_cast<std::size_t>(options_.keep_snapshots));
    for (auto& m : kept_) m.state = state_buffer(pool_->layout.state_values);
  }

  bool tail_is_writable() const {
    std::int64_t const slot = now_.length % page_tokens;
    if (slot == 0 || now_.pages.empty()) return true;
    detail::page<Memory> const& tail =
        *now_.pages[static_cast<std::size_t>(now_.length / page_tokens)];
    return tail.holders == 1 || (tail.writer == id_ && tail.filled == slot);
  }
  void copy_tail() {
    detail::page<Memory>*& tail = now_.pages[static_cast<std::size_t>(now_.length / page_tokens)];
    detail::page<Memory>* const own = pool_->acquire();
    Memory::copy(std::as_const(tail->data).data(), tail->data.size(), own->data.data());
    pool_->release(std::exchange(tail, own));
  }
  void give_back(std::size_t pages) {
    while (now_.pages.size() > pages) {
      pool_->release(now_.pages.back());
      now_.pages.pop_back();
    }
  }
  void cut_pages(std::int64_t n) {
    give_back(static_cast<std::size_t>((n + page_tokens - 1) / page_tokens));
    now_.length = n;
    now_.last_kept = kept_count_ > 0 ? kept_[kept_count_ - 1].last_kept : 0;
  }
  void forget_kept_beyond(std::int64_t n) {
    while (kept_count_ > 0 && kept_[kept_count_ - 1].length > n) kept_[--kept_count_].drop(*pool_);
  }
  void swap(basic_cache& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(options_, other.options_);
    std::swap(id_, other.id_);
    std::swap(now_, other.now_);
    std::swap(kept_, other.kept_);
    std::swap(kept_count_, other.kept_count_);
  }

  std::shared_ptr<detail::page_pool<Memory>> pool_;
  cache_options options_;
  std::int64_t id_ = 0;
  detail::cache_state<T, Memory> now_;
  std::vector<detail::cache_state<T, Memory>> kept_;
  std::size_t kept_count_ = 0;
};

/// Owns the memory of sequences that belong together; lives as long as any of them.
template <class T, class Memory = host_memory>
class basic_cache_pool {
 public:
  explicit basic_cache_pool(cache_layout layout, cache_pool_options options = {})
      : pool_(std::make_shared<detail::page_pool<Memory>>(layout, options)) {}

  /// An empty sequence; plait::error for options that make no sense.
  basic_cache<T, Memory> make(cache_options options = {}) {
    return basic_cache<T, Memory>(pool_, options);
  }
  /// Bytes of all pages, in use or kept for reuse.
  std::int64_t page_bytes() const { return pool_->bytes(); }
  std::int64_t pages_in_use() const { return pool_->pages_in_use(); }

 private:
  std::shared_ptr<detail::page_pool<Memory>> pool_;
};

/// The sequences of a model, in the memory of its execution policy.
///
/// On an error nothing has changed. A sequence is moved, not copied: `fork` says so. It, its
/// snapshots and its pool may die in any order, but they share reference counts without locks: all
/// of a pool's together have one caller at a time, forward included. `truncate(n)` returns how many
/// tokens to forward again to stand at n: 0 without recurrent state, otherwise what lies between n
/// and the nearest kept moment, or the beginning. After `restore`, `fork` and `truncate` call
/// `reserve` before going on.
///
/// ```cpp body
/// plait::cache_pool<small_model> pool({.max_page_bytes = 64 << 20});
/// plait::cache<small_model> sequence = pool.make({.keep_snapshots = 4, .snapshot_interval = 16});
/// sequence.reserve(100);  // room for 100 tokens: two pages
/// plait::snapshot<small_model> const before = sequence.snapshot();
/// plait::cache<small_model> other = sequence.fork();
/// sequence.restore(before), sequence.reserve(100);
/// ```
///
/// Shapes: `length` and `capacity` in tokens; `state_values` in values of type T, `page_bytes` for
///   64 tokens of all layers. Jamba v0.1: a page is 2 MiB, a snapshot 17,432,576 bytes and its page
///   references
/// Errors:
///   - `the cache pool is full: … of … bytes are in use, … more pages of … tokens need …
///   each`:
///     beyond `max_page_bytes`, by default the machine's memory; from `reserve`, before anything is
///     allocated
///   - `a cache keeps 0 or more snapshots, at least 1 token apart; asked for … snapshots, …
///   tokens
///     apart`: from `make`
/// Cost: `reserve` allocates pages and copies at most one; `snapshot`, `restore` and `fork` copy
///   the state and the page references (`fork` those of the kept moments too) and evaluate nothing;
///   `truncate` at most the same; `advance` copies the state where a moment is kept. A page given
///   back is reused
/// Test: tests/unit/model/cache_test.cpp
template <class Model>
using cache = basic_cache<typename Model::state_type, typename Model::memory>;
template <class Model>
using snapshot = basic_snapshot<typename Model::state_type, typename Model::memory>;

/// The pool of a model's sequences.
template <class Model>
class cache_pool : public basic_cache_pool<typename Model::state_type, typename Model::memory> {
 public:
  explicit cache_pool(cache_pool_options options = {})
      : basic_cache_pool<typename Model::state_type, typename Model::memory>(Model::layout,
                                                                             options) {}
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
