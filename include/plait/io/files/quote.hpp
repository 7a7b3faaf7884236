// Quotations of untrusted text in error messages: escaped, bounded and on one line.
// Test: tests/unit/io/files/json_test.cpp, tests/unit/io/files/safetensors_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Length in bytes of the UTF-8 sequence at the start of `text` if it may be printed unchanged,
/// else 0. Invalid UTF-8, control characters, line separators and changes of text direction may
/// not.
constexpr std::size_t printable_sequence(std::string_view text) {
  auto const byte = [&](std::size_t i) -> std::uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  std::uint32_t const b = byte(0);
  if (b < 0x80) return b >= 0x20 && b != 0x7f ? 1 : 0;
  std::size_t const length = b >= 0xc2 && b < 0xe0   ? 2
                             : b >= 0xe0 && b < 0xf0 ? 3
                             : b >= 0xf0 && b < 0xf5 ? 4
                                                     : 0;
  if (length == 0) return 0;
  std::uint32_t code = b & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
    code = code << 6 | (byte(i) & 0x3fu);
  }
  bool const overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  bool const unsafe = code < 0xa0 || (code >= 0x200b && code <= 0x200f) ||
                      (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                      (code >= 0xd800 && code < 0xe000) || code > 0x10ffff;
  return overlong || unsafe ? 0 : length;
}

/// `text` for an error message: backslashes and quotes are escaped by a backslash, newline and tab
/// as \n and \t, every other byte that is not printable as \x and two hexadecimal digits. The
/// result ends in "..." after about `limit` bytes.
inline std::string printable(std::string_view text, std::size_t limit = 200) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (out.size() >= limit) return out + "...";
    std::size_t const length = printable_sequence(text.substr(i, 4));
    if (length == 0) {
      auto const b = static_cast<unsigned char>(text[i++]);
      char const* const digits = "0123456789abcdef";
      out += b == '\n'   ? "\\n"
             : b == '\t' ? "\\t"
                         : std::string("\\x") + digits[b >> 4] + digits[b & 15];
    } else {
      if (text[i] == '\\' || text[i] == '"') out += '\\';
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

/// `text`, printable and between double quotes.
inline std::string in_quotes(std::string_view text) { return '"' + printable(text) + '"'; }

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
