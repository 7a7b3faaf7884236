// The memory of the host.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN

/// Bytes of the host's physical memory; INT64_MAX where the system does not report them.
/// Cost: a call of the system
/// Test: tests/unit/model/cache_test.cpp
inline std::int64_t machine_memory() {
#if defined(_SC_PHYS_PAGES)
  std::int64_t const pages = ::sysconf(_SC_PHYS_PAGES);
  std::int64_t const page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) return pages * page_bytes;
#endif
  return std::numeric_limits<std::int64_t>::max();
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
