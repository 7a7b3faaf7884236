// Where sequences keep pages and state: this machine's memory, or a device's.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// The memory of this machine. Another kind, a device's for instance, has the same members: a
/// buffer that is zero at first and throws plait::error when memory runs out, with data() and
/// size(), whose addresses only kernels and these two functions may follow; both are done in order
/// with the kernels.
/// Equation: another kind has the same members; a device's has `copy_in` and `copy_out` too, from
///   and to this machine
/// Errors: those of its buffer (buffer.hpp)
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
