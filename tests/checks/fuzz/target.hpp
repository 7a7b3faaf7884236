// The contract of a reader that every target checks: it accepts its input, or throws a plait::error
// whose message is one short printable line.
#pragma once

#include <plait/core/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// libFuzzer's entry point, once per input. An exception that leaves it is a finding.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace plait::fuzz {

/// A violated property. Not a plait::error: that would be a refusal.
class finding : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

inline void require(bool holds, char const* what) {
  if (!holds) throw finding(std::string("does not hold: ") + what);
}

inline void check_message(std::string_view what, std::string_view file) {
  auto const shown = [&](char const* wrong) {
    return finding(std::string(wrong) + ": " + std::string(what));
  };
  if (what.size() >= 2000) throw shown("the message has 2000 bytes or more");
  bool const named = what.starts_with(file) && (what.substr(file.size()).starts_with(": ") ||
                                                what.substr(file.size()).starts_with("/"));
  if (!named || what.find(": ") == std::string_view::npos)
    throw shown("the message does not begin with the file");
  bool ascii = true;
  for (char const c : what) {
    auto const b = static_cast<unsigned char>(c);
    if (b < 0x20 || b == 0x7f) throw shown("the message has a control character");
    ascii = ascii && b < 0x80;
  }
  if (ascii) return;
  try {
    (void)nlohmann::json(what).dump();  // throws unless the message is valid UTF-8
  } catch (nlohmann::json::exception const&) {
    throw shown("the message is not UTF-8");
  }
}

/// Whether `action` returns. A refusal names `file`, or a file in it.
template <class Action>
bool accepted(std::string_view file, Action&& action) {
  try {
    std::forward<Action>(action)();
    return true;
  } catch (plait::error const& e) {
    check_message(e.what(), file);
    return false;
  }
}

}  // namespace plait::fuzz
