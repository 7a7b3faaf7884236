// The memory that one sequence of a model needs.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// The memory that one sequence needs, over all layers.
/// Shapes: `state_values` in values of recurrent state, `page_bytes` in bytes per page of keys and
///   values. Jamba v0.1: a page is 2 MiB, the state 17,432,576 bytes
/// Test: tests/unit/model/cache_test.cpp
struct cache_layout {
  std::int64_t state_values = 0;
  std::int64_t page_bytes = 0;
  friend bool operator==(cache_layout const&, cache_layout const&) = default;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
