// The memory of pages and recurrent state: the host's, or a device's.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// The host's memory. A device's memory has the same members, and `copy_in` and `copy_out` from and
/// to the host. `buffer` is initially zero, has data() and size(), and throws plait::error when
/// memory runs out. Only kernels, `copy` and `clear` may dereference its addresses; both functions
/// run in order with the kernels.
/// Errors: those of core/buffer.hpp
/// Test: tests/unit/model/cache_test.cpp, tests/unit/exec/device_test.cpp
struct host_memory {
  template <class T>
  using buffer = plait::buffer<T>;
  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    std::copy_n(from, n, to);
  }
  template <class T>
  static void clear(T* at, std::int64_t n) {
    std::fill_n(at, n, T{});
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
