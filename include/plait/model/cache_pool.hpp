// The pool of sequences that share memory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/memory.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_layout.hpp>
#include <plait/model/page_pool.hpp>

#include <cstdint>
#include <memory>

PLAIT_NAMESPACE_BEGIN

/// Owns the pages of its sequences, which share it with their snapshots: the memory lives as long
/// as any of them.
/// Shapes: `page_bytes` in bytes of all pages, in use or free
/// Errors: those of model/cache.hpp
/// Cost: basic_cache::reserve allocates pages; a released page is reused
/// Test: tests/unit/model/cache_test.cpp
template <class T, class Memory = host_memory>
class basic_cache_pool {
 public:
  explicit basic_cache_pool(cache_layout layout, cache_pool_options options = {})
      : pool_(std::make_shared<detail::page_pool<Memory>>(layout, options)) {}

  /// An empty sequence.
  basic_cache<T, Memory> make(cache_options options = {}) {
    return basic_cache<T, Memory>(pool_, options);
  }
  std::int64_t page_bytes() const { return pool_->bytes(); }
  std::int64_t pages_in_use() const { return pool_->pages_in_use(); }

 private:
  std::shared_ptr<detail::page_pool<Memory>> pool_;
};

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
