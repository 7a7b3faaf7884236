// A safetensors file, validated before any of it is used.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/tensor_view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Longest header that is read, in bytes: the reference implementation's limit.
inline constexpr std::uint64_t max_safetensors_header = 100'000'000;
/// Maximum number of a tensor's dimensions.
inline constexpr std::size_t max_safetensors_rank = 16;

/// A mapped safetensors file. The constructor checks the whole header against the file, as strictly
/// as the reference implementation does.
/// Equation: u64 length, JSON header, data; the tensors cover the data exactly once, each with the
///   size of its shape
/// Shapes: a header of at most 100 MB, at most 16 dimensions. Iteration is by name; views stay
///   valid when the object is moved
/// Errors:
///   - `has no tensor …`: thrown by `at`; `find` returns nullptr
///   - `tensor … has no …`: dtype, shape or `data_offsets` is missing
/// Cost: reads the header only; a lookup is O(log tensors)
/// Source: the safetensors format and its reference implementation
/// Test: tests/unit/io/files/safetensors_test.cpp, tests/checks/fuzz/safetensors.cpp
class safetensors {
 public:
  explicit safetensors(std::string path)
      : path_(std::make_unique<std::string const>(std::move(path))), file_(*path_) {
    read_file(file_->bytes());
  }
  /// A file in memory. `bytes` must outlive this object; `path` is for error messages only.
  safetensors(std::string path, std::span<std::byte const> bytes)
      : path_(std::make_unique<std::string const>(std::move(path))) {
    read_file(bytes);
  }

  std::string const& path() const { return *path_; }

  /// The tensor of this name, or nullptr.
  tensor_view const* find(std::string_view name) const {
    auto const it =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](tensor_view const& t, std::string_view n) { return t.name < n; });
    return it != tensors_.end() && it->name == name ? &*it : nullptr;
  }
  /// The tensor of this name; throws plait::error if it does not exist.
  tensor_view const& at(std::string_view name) const {
    tensor_view const* const t = find(name);
    if (t == nullptr) refuse("has no tensor {}", in_quotes(name));
    return *t;
  }

  auto begin() const { return tensors_.begin(); }
  auto end() const { return tensors_.end(); }
  std::size_t size() const { return tensors_.size(); }

  /// The entries of __metadata__.
  std::map<std::string, std::string> const& metadata() const { return metadata_; }

  /// Releases the memory of elements [first, first + count) of tensor t (mapped_file::drop).
  void drop(tensor_view const& t, std::int64_t first, std::int64_t count) const {
    std::int64_t const bytes = info(t.type).bytes;
    if (file_) file_->drop(t.data + first * bytes, static_cast<std::size_t>(count * bytes));
  }

 private:
  struct extent {
    std::uint64_t begin, end;
    std::size_t tensor;
  };

  template <class... Values>
  [[noreturn]] void refuse(plait::detail::sentence_text<std::type_identity_t<Values>...> format,
                           Values const&... values) const {
    fail<Values...>(*path_, format, values...);
  }

  void read_file(std::span<std::byte const> bytes) {
    if (bytes.size() < 8)
      refuse("has {} bytes; a safetensors file begins with 8 that give its header's length",
             bytes.size());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    if (length > bytes.size() - 8)
      refuse("the header's length is {}, but only {} bytes follow it", length, bytes.size() - 8);
    if (length > max_safetensors_header)
      refuse("the header's length is {}; at most {} is read", length, max_safetensors_header);
    auto const header = bytes.subspan(8, static_cast<std::size_t>(length));
    std::string_view const text(reinterpret_cast<char const*>(header.data()), header.size());
    if (!text.starts_with('{')) refuse("the header does not begin with {");
    read_header(parse_json(text, *path_), bytes.subspan(8 + header.size()));
  }

  void read_header(nlohmann::json const& header, std::span<std::byte const> data) {
    std::vector<extent> extents;
    for (auto const& [name, entry] :
         header.get_ref<nlohmann::json::object_t const&>()) {  // a std::map, sorted by name
      if (name == "__metadata__") {
        read_metadata(entry);
        continue;
      }
      extents.push_back(read_entry(name, entry, data.size()));
      extents.back().tensor = tensors_.size() - 1;
      tensors_.back().data = data.data() + extents.back().begin;
    }
    std::sort(extents.begin(), extents.end(), [](extent const& a, extent const& b) {
      return std::pair{a.begin, a.end} < std::pair{b.begin, b.end};
    });
    std::uint64_t covered = 0;
    for (extent const& e : extents) {
      if (e.begin != covered)
        refuse("tensor {} begins at byte {} of the data, {} at {}",
               in_quotes(tensors_[e.tensor].name), e.begin,
               e.begin < covered ? "inside another, which ends" : "but the one before it ends",
               covered);
      covered = e.end;
    }
    if (covered != data.size())
      refuse("has {} bytes of data, but its tensors end at {}", data.size(), covered);
  }

  void read_metadata(nlohmann::json const& entry) {
    if (!entry.is_object()) refuse("__metadata__ is not an object");
    for (auto const& [key, value] : entry.get_ref<nlohmann::json::object_t const&>()) {
      if (!value.is_string())
        refuse("__metadata__ has a value that is not a string, that of {}", in_quotes(key));
      metadata_.emplace(key, value.get_ref<std::string const&>());
    }
  }

  extent read_entry(std::string const& name, nlohmann::json const& entry, std::uint64_t available) {
    std::string const quoted = in_quotes(name);
    if (!entry.is_object()) refuse("tensor {} is not described by an object", quoted);
    for (char const* const key : {"dtype", "shape", "data_offsets"})
      if (!entry.contains(key)) refuse("tensor {} has no {}", quoted, key);
    for (auto const& [key, value] : entry.get_ref<nlohmann::json::object_t const&>())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse("tensor {} has an unknown key {}", quoted, in_quotes(key));

    tensor_view t;
    t.name = name;
    t.file = *path_;
    if (!entry["dtype"].is_string()) refuse("tensor {} has a dtype that is not a string", quoted);
    std::string const& dtype = entry["dtype"].get_ref<std::string const&>();
    auto const* const known = std::find_if(std::begin(stored_types), std::end(stored_types),
                                           [&](auto const& s) { return s.name == dtype; });
    if (known == std::end(stored_types))
      refuse("tensor {} has an unknown dtype, {}", quoted, in_quotes(dtype));
    t.type = known->type;

    if (!entry["shape"].is_array()) refuse("tensor {} has a shape that is not an array", quoted);
    auto const& shape = entry["shape"].get_ref<nlohmann::json::array_t const&>();
    if (shape.size() > max_safetensors_rank)
      refuse("tensor {} has {} dimensions; at most {} are read", quoted, shape.size(),
             max_safetensors_rank);
    std::int64_t size = known->bytes;
    for (auto const& n : shape) {
      std::uint64_t const dimension = natural(n, quoted, "shape");
      if (dimension > INT64_MAX ||
          __builtin_mul_overflow(size, static_cast<std::int64_t>(dimension), &size))
        refuse("tensor {} has a shape whose size overflows", quoted);
      t.shape.push_back(static_cast<std::int64_t>(dimension));
    }
    t.bytes = size;

    auto const& offsets = entry["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2)
      refuse("tensor {} has data_offsets that are not an array of two", quoted);
    std::uint64_t const begin = natural(offsets[0], quoted, "data_offsets");
    std::uint64_t const end = natural(offsets[1], quoted, "data_offsets");
    if (begin > end)
      refuse("tensor {} ends at byte {}, before it begins, at {}", quoted, end, begin);
    if (end > available)
      refuse("tensor {} ends at byte {} of the data, which has only {}", quoted, end, available);
    if (end - begin != static_cast<std::uint64_t>(size))
      refuse("tensor {} occupies {} bytes, but {} {} takes {}", quoted, end - begin, dtype,
             shape_text(t.shape), size);
    tensors_.push_back(std::move(t));
    return {begin, end, 0};
  }

  std::uint64_t natural(nlohmann::json const& number, std::string const& quoted,
                        char const* key) const {
    if (!number.is_number_unsigned())
      refuse("tensor {} has {} with a value that is not an integer from 0 to 2^64 - 1", quoted,
             key);
    return number.get<std::uint64_t>();
  }

  std::unique_ptr<std::string const> path_;  // its address survives moves, as views refer to it
  std::optional<mapped_file> file_;          // empty for a file in the caller's memory
  std::vector<tensor_view> tensors_;         // sorted by name
  std::map<std::string, std::string> metadata_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
