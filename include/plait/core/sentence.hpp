// The text of an error: a sentence with values in it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN

namespace detail {

/// The text of a sentence with one place, {}, per value.
template <class... Values>
struct sentence_text {
  std::string_view text;

  template <std::convertible_to<std::string_view> Text>
  consteval sentence_text(Text const& from) : text(from) {
    std::size_t places = 0;
    for (std::size_t at = text.find("{}"); at < text.size(); at = text.find("{}", at + 2)) ++places;
    if (places != sizeof...(Values)) throw "plait: a sentence has a place {} for each value";
  }
};

inline std::string text_of(std::string_view value) { return std::string(value); }
std::string text_of(std::integral auto value) { return std::to_string(value); }
std::string text_of(std::floating_point auto value) { return std::to_string(value); }

}  // namespace detail

/// `format` with its places, {}, filled by `values` from left to right: strings unchanged, numbers
/// by std::to_string. (std::format needs g++ 13.)
/// Errors: a number of places that differs from the number of values does not compile
/// Test: tests/unit/core/sentence_test.cpp
template <class... Values>
std::string sentence(detail::sentence_text<std::type_identity_t<Values>...> format,
                     Values const&... values) {
  std::string result;
  std::string_view rest = format.text;
  [[maybe_unused]] auto const fill = [&](auto const& value) {
    std::size_t const place = rest.find("{}");
    result += rest.substr(0, place);
    result += detail::text_of(value);
    rest.remove_prefix(place + 2);
  };
  (fill(values), ...);
  result += rest;
  return result;
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
