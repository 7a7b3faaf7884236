// Floats as text that reads back exactly.
// Test: tests/unit/models/jamba/checkpoint_config_test.cpp, tests/unit/io/family_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <charconv>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The shortest decimal text that reads back as the same float, in any locale.
inline std::string float_text(float value) {
  char buffer[32];
  return {buffer,
          std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr};
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
