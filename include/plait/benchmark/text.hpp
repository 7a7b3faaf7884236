// Numbers and sizes as benchmarks print them.
// Test: tests/unit/benchmark/explain_test.cpp, tests/unit/benchmark/register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdio>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

/// `value` in a format of printf.
inline std::string number(double value, char const* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// "1.5 kB", "1.5 MB" or "1.50 GB".
inline std::string text_of_bytes(double bytes) {
  if (bytes < 1e6) return number(bytes / 1e3, "%.1f kB");
  return bytes < 1e9 ? number(bytes / 1e6, "%.1f MB") : number(bytes / 1e9, "%.2f GB");
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
