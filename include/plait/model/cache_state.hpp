// The state of a sequence: recurrent state, references to pages, length.
// Test: tests/unit/model/cache_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/memory.hpp>
#include <plait/core/page_layout.hpp>
#include <plait/model/page_pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace detail {

/// The state of a sequence at one length, of a cache or of a snapshot.
template <class T, class Memory>
struct cache_state {
  using pool_type = page_pool<Memory>;

  typename Memory::template buffer<T> state;
  std::vector<page<Memory>*> pages;
  std::int64_t length = 0;
  std::int64_t snapshot_id = 0;  ///< of the last snapshot up to this length; 0: none

  void drop(pool_type& pool) noexcept {
    for (page<Memory>* p : pages) pool.release(p);
    pages.clear();
    length = 0;
    snapshot_id = 0;
  }
  /// Becomes a copy of `other`, with shared pages. Allocates nothing where the state and the room
  /// for the pages are allocated.
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
    snapshot_id = other.snapshot_id;
  }
};

}  // namespace detail
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
