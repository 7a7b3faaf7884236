// The input is JSON. parse_json reads it as nlohmann's other interfaces do, or refuses it by its
// own limits.
#include "target.hpp"

#include <plait/io/files/json.hpp>

#include <optional>
#include <vector>

using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {

constexpr char const* path = "x.json";

/// The value of JSON without zero bytes, duplicate keys and excessive depth.
std::optional<nlohmann::json> strict_json(std::string_view text) {
  if (text.find('\0') != std::string_view::npos ||
      !nlohmann::json::accept(text.begin(), text.end()))
    return std::nullopt;
  std::size_t depth = 0, keys = 0;
  nlohmann::json value = nlohmann::json::parse(
      text.begin(), text.end(), [&](int open, auto event, nlohmann::json const&) {
        using kind = nlohmann::json::parse_event_t;
        if (event == kind::object_start || event == kind::array_start)
          depth = std::max(depth, static_cast<std::size_t>(open) + 1);
        if (event == kind::key) ++keys;
        return true;
      });
  // of two equal keys this value has only one
  std::size_t kept = 0;
  std::vector<nlohmann::json const*> left{&value};
  while (!left.empty()) {
    nlohmann::json const& v = *left.back();
    left.pop_back();
    if (v.is_object()) kept += v.size();
    if (v.is_structured())
      for (nlohmann::json const& inner : v) left.push_back(&inner);
  }
  if (kept != keys || depth > plait::io::max_json_depth) return std::nullopt;
  return value;
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  std::optional<nlohmann::json> read;
  accepted(path, [&] { read = plait::io::parse_json(text, path); });
  require(read == strict_json(text), "all strict JSON is read for what it is, and nothing else");
  return 0;
}
