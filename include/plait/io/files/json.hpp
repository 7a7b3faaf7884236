// Strict JSON: what the files of a checkpoint may contain, and nothing else.
// Shapes: at most 64 levels deep; `position` counts bytes from 1
// Errors:
//   - `not valid JSON at byte …: …`: syntax, invalid UTF-8, trailing text, in the parser's
//   words
// Cost: one pass; the value is built
// Source: RFC 8259
// Test: tests/unit/io/files/json_test.cpp, tests/checks/fuzz/json.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/message.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Levels of the deepest JSON that is read.
inline constexpr std::size_t max_json_depth = 64;

/// Receives nlohmann's events and builds the value. Its own builder would keep the last of two
/// equal keys and has no limit of depth.
class json_builder {
 public:
  using json = nlohmann::json;

  explicit json_builder(std::string const& file) : file_(file) {}
  json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool v) { return put(v); }
  bool number_integer(std::int64_t v) { return put(v); }
  bool number_unsigned(std::uint64_t v) { return put(v); }
  bool number_float(double v, std::string const&) { return put(v); }
  bool string(std::string& v) { return put(std::move(v)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(json::object()); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    auto const [place, fresh] =
        containers_.back()->get_ref<json::object_t&>().try_emplace(name, nullptr);
    if (!fresh) fail(file_, "not valid JSON: the key " + in_quotes(name) + " occurs twice");
    member_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t position, std::string const&, json::exception const& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...": the
    // last part is the reason
    std::string_view what = e.what();
    std::size_t const code = what.find("] "), column = what.find(", column ");
    if (column != std::string_view::npos)
      what.remove_prefix(std::min(what.size(), what.find(": ", column) + 2));
    else if (code != std::string_view::npos)
      what.remove_prefix(code + 2);
    fail(file_, "not valid JSON at byte " + std::to_string(position) + ": " + printable(what));
  }

 private:
  template <class Value>
  json& place(Value&& value) {
    json* where = &root_;
    if (!containers_.empty() && containers_.back()->is_array())
      where = &containers_.back()->emplace_back(nullptr);
    else if (!containers_.empty())
      where = member_;
    *where = std::forward<Value>(value);
    return *where;
  }
  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(json container) {
    if (containers_.size() >= max_json_depth)
      fail(file_, "not read: its JSON is nested deeper than " + std::to_string(max_json_depth));
    containers_.push_back(&place(std::move(container)));
    return true;
  }
  bool close() {
    containers_.pop_back();
    return true;
  }

  std::string const& file_;
  json root_;
  std::vector<json*> containers_;  // the open ones; a container grows only while it is the last, so
                                   // the pointers hold
  json* member_ = nullptr;
};

/// Parses all of `text`. plait::error, naming `file` and where known the byte, on anything that is
/// not one JSON value: syntax, invalid UTF-8, trailing text; and on a key that occurs twice and
/// nesting deeper than max_json_depth.
inline nlohmann::json parse_json(std::string_view text, std::string const& file) {
  // The parser takes a zero byte for the end of its input and would not see what follows.
  if (std::size_t const zero = text.find('\0'); zero != std::string_view::npos)
    fail(file, "not valid JSON at byte " + std::to_string(zero + 1) + ": a zero byte");
  json_builder builder(file);
  try {
    nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } catch (std::bad_alloc const&) {
    fail(file, "not read: its JSON does not fit into memory");
  }
  return builder.take();
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
