// Errors about files: the file first, then what is wrong with it.
// Test: tests/unit/io/files/json_test.cpp, tests/unit/io/files/safetensors_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/io/files/quote.hpp>

#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Throws plait::error with the text "FILE: FORMAT", the places {} of `format` filled by `values`
/// (core/sentence.hpp). `file` is escaped here; a value that comes from a file is escaped by the
/// caller (quote.hpp).
/// Shapes: at most about 4096 bytes of `file`
template <class... Values>
[[noreturn]] void fail(std::string_view file,
                       plait::detail::sentence_text<std::type_identity_t<Values>...> format,
                       Values const&... values) {
  throw error(printable(file, 4096) + ": " + sentence<Values...>(format, values...));
}

/// The system's description of an errno.
inline std::string errno_text(int number) {
  return printable(std::generic_category().message(number));
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
