// Strict JSON (RFC 8259), with the limits that hostile files call for.
// Test: tests/unit/io/files/json_test.cpp, tests/checks/fuzz/json.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/fail.hpp>

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

/// Deepest nesting of arrays and objects that is read.
inline constexpr std::size_t max_json_depth = 64;

namespace detail {

/// Builds a JSON value from nlohmann's SAX events. nlohmann's own builder keeps the last of two
/// equal keys and has no depth limit.
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
    auto const [member, inserted] =
        containers_.back()->get_ref<json::object_t&>().try_emplace(name, nullptr);
    if (!inserted) fail(file_, "not valid JSON: the key {} occurs twice", in_quotes(name));
    member_ = &member->second;
    return true;
  }

  bool parse_error(std::size_t position, std::string const&, json::exception const& e) {
    // Of "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..." the
    // last part is the reason.
    std::string_view what = e.what();
    std::size_t const code = what.find("] ");
    std::size_t const column = what.find(", column ");
    if (column != std::string_view::npos)
      what.remove_prefix(std::min(what.size(), what.find(": ", column) + 2));
    else if (code != std::string_view::npos)
      what.remove_prefix(code + 2);
    fail(file_, "not valid JSON at byte {}: {}", position, printable(what));
  }

 private:
  template <class Value>
  json& place(Value&& value) {
    json* target = &root_;
    if (!containers_.empty() && containers_.back()->is_array())
      target = &containers_.back()->emplace_back(nullptr);
    else if (!containers_.empty())
      target = member_;
    *target = std::forward<Value>(value);
    return *target;
  }
  template <class Value>
  bool put(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }
  bool open(json container) {
    if (containers_.size() >= max_json_depth)
      fail(file_, "not read: its JSON is nested deeper than {} levels", max_json_depth);
    containers_.push_back(&place(std::move(container)));
    return true;
  }
  bool close() {
    containers_.pop_back();
    return true;
  }

  std::string const& file_;
  json root_;
  /// Those not closed yet. Only the last one grows, so that the pointers stay valid.
  std::vector<json*> containers_;
  json* member_ = nullptr;
};

}  // namespace detail

/// The one JSON value that `text` consists of.
/// Shapes: at most max_json_depth levels deep; positions in errors count bytes from 1
/// Errors:
///   - `not valid JSON at byte …: …`: a syntax error, invalid UTF-8 or trailing text, in the
///     parser's words
/// Cost: one pass over the text, and memory for the value
/// Source: RFC 8259
inline nlohmann::json parse_json(std::string_view text, std::string const& file) {
  // The parser would stop at a zero byte as at the end of its input.
  if (std::size_t const zero = text.find('\0'); zero != std::string_view::npos)
    fail(file, "not valid JSON at byte {}: a zero byte", zero + 1);
  detail::json_builder builder(file);
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
