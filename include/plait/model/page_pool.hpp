// The memory of a cache pool: reference-counted pages of keys and values.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/machine_memory.hpp>
#include <plait/core/page_layout.hpp>
#include <plait/core/sentence.hpp>
#include <plait/model/cache_layout.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The limit of a cache pool.
/// Errors:
///   - `the cache pool is full: … of … bytes are in use, … more pages of … tokens need …
///     each`: from basic_cache::reserve, before anything is allocated
/// Test: tests/unit/model/cache_test.cpp
struct cache_pool_options {
  std::int64_t max_page_bytes = machine_memory();  ///< maximum of the bytes of all pages
};

namespace detail {

/// Keys and values of page_tokens tokens, shared by caches and snapshots. While several hold a
/// page, only the cache that wrote it last, `writer`, may append to it: the others read no token
/// beyond those they saw.
template <class Memory>
struct page {
  typename Memory::template buffer<std::byte> data;
  std::int64_t holders = 0;
  std::int64_t writer = 0;
  std::int64_t filled = 0;  ///< tokens
};

template <class Memory>
class page_pool {
 public:
  using page = detail::page<Memory>;

  page_pool(cache_layout of, cache_pool_options options) : layout(of), options_(options) {
    // The default limit is the host's memory. A device reports its own free memory.
    if constexpr (reports_free_memory)
      if (options.max_page_bytes == machine_memory())
        options_.max_page_bytes = std::numeric_limits<std::int64_t>::max();
  }

  /// plait::error unless the pool has room for `pages` more pages; allocates nothing.
  void require(std::int64_t pages) const {
    std::int64_t const fresh = pages - static_cast<std::int64_t>(free_.size());
    if (fresh > 0 && fresh > (options_.max_page_bytes - bytes_) / layout.page_bytes)
      throw error(
          sentence("the cache pool is full: {} of {} bytes are in use, {} more pages of {} tokens "
                   "need {} each",
                   bytes_, options_.max_page_bytes, fresh, page_tokens, layout.page_bytes));
    if constexpr (reports_free_memory)
      if (fresh > 0)
        Memory::require(fresh * layout.page_bytes, "room for so many more keys and values");
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
    p->writer = 0;
    p->filled = 0;
    return p;
  }
  void release(page* p) noexcept {
    if (--p->holders == 0) free_.push_back(p);  // does not allocate: acquire reserved the room
  }

  cache_layout const layout;
  std::int64_t bytes() const { return bytes_; }
  std::int64_t pages_in_use() const {
    return static_cast<std::int64_t>(all_.size() - free_.size());
  }
  std::int64_t next_id() { return ++last_id_; }

 private:
  static constexpr bool reports_free_memory = requires { Memory::require(std::int64_t{}, ""); };
  cache_pool_options options_;
  std::vector<std::unique_ptr<page>> all_;
  std::vector<page*> free_;
  std::int64_t bytes_ = 0;
  std::int64_t last_id_ = 0;
};

}  // namespace detail
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
