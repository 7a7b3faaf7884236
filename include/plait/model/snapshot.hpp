// A snapshot of a sequence.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/memory.hpp>
#include <plait/model/cache_state.hpp>

#include <cstdint>
#include <memory>
#include <utility>

PLAIT_NAMESPACE_BEGIN

template <class T, class Memory = host_memory>
class basic_cache;

/// A sequence at one length, for `restore`. It holds its pages: they live as long as it does.
/// Shapes: `length` in tokens; `bytes` of its own, without the shared pages
/// Cost: a copy of the recurrent state, and a reference per page
/// Test: tests/unit/model/cache_test.cpp
template <class T, class Memory = host_memory>
class basic_snapshot {
 public:
  basic_snapshot(basic_snapshot&& other) noexcept
      : pool_(std::move(other.pool_)), state_(std::move(other.state_)) {
    other.state_ = {};
  }
  basic_snapshot& operator=(basic_snapshot&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(state_, other.state_);
    return *this;
  }
  ~basic_snapshot() {
    if (pool_) state_.drop(*pool_);
  }

  std::int64_t length() const { return state_.length; }
  std::int64_t bytes() const {
    return state_.state.size() * std::int64_t{sizeof(T)} + std::int64_t{sizeof(*this)} +
           static_cast<std::int64_t>(state_.pages.capacity() * sizeof(void*));
  }

 private:
  friend class basic_cache<T, Memory>;
  basic_snapshot(std::shared_ptr<detail::page_pool<Memory>> pool,
                 detail::cache_state<T, Memory> const& from)
      : pool_(std::move(pool)) {
    state_.assign(*pool_, from);
  }
  std::shared_ptr<detail::page_pool<Memory>> pool_;
  detail::cache_state<T, Memory> state_;
};

/// A snapshot of a sequence of a model.
template <class Model>
using snapshot = basic_snapshot<typename Model::state_type, typename Model::memory>;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
