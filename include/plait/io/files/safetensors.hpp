// A safetensors file, validated before anything of it is used.
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
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Bytes of the largest header that is read.
inline constexpr std::uint64_t max_safetensors_header =
    100'000'000;  // the reference implementation's limit
/// Dimensions of a tensor, at most.
inline constexpr std::size_t max_safetensors_rank = 16;

/// A file of named tensors: u64 length, JSON header, data. The constructor checks all of the header
/// against the file, as strictly as the reference implementation: afterwards every view lies inside
/// the file, has the size of its shape, and overlaps no other.
/// Equation: u64 length, JSON header, data; every view lies inside the file, has the size of its
///   shape, and the tensors cover the data exactly once
/// Shapes: a header of at most 100 MB, 16 dimensions; iteration is by name; views stay where they
///   are when the object is moved. `bytes` is a file in memory already, which must outlive the
///   object; messages call it `path`
/// Errors:
///   - `has no tensor …`: from `at`; `find` gives null
///   - `has no …`: dtype, shape or `data_offsets`
/// Cost: reads the header alone; lookup O(log tensors)
/// Source: the safetensors format, as strictly as its reference implementation
/// Test: tests/unit/io/files/safetensors_test.cpp, tests/checks/fuzz/safetensors.cpp
class safetensors {
 public:
  explicit safetensors(std::string path)
      : path_(std::make_unique<std::string const>(std::move(path))), file_(*path_) {
    read_file(file_->bytes());
  }
  /// A file that is in memory already. `bytes` must outlive this object; messages call them `path`,
  /// and nothing is opened.
  safetensors(std::string path, std::span<std::byte const> bytes)
      : path_(std::make_unique<std::string const>(std::move(path))) {
    read_file(bytes);
  }

  std::string const& path() const { return *path_; }

  /// nullptr if there is no such tensor.
  tensor_view const* find(std::string_view name) const {
    auto const it =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](tensor_view const& t, std::string_view n) { return t.name < n; });
    return it != tensors_.end() && it->name == name ? &*it : nullptr;
  }
  /// plait::error if there is no such tensor.
  tensor_view const& at(std::string_view name) const {
    tensor_view const* const t = find(name);
    if (t == nullptr) refuse("has no tensor " + in_quotes(name));
    return *t;
  }

  // Iteration is by name.
  auto begin() const { return tensors_.begin(); }
  auto end() const { return tensors_.end(); }
  std::size_t size() const { return tensors_.size(); }

  std::map<std::string, std::string> const& metadata() const { return metadata_; }

  /// Elements [first, first + count) of one of its tensors have been read (mapped_file::drop).
  void drop(tensor_view const& t, std::int64_t first, std::int64_t count) const {
    std::int64_t const bytes = info(t.type).bytes;
    if (file_) file_->drop(t.data + first * bytes, static_cast<std::size_t>(count * bytes));
  }

 private:
  struct extent {
    std::uint64_t begin, end;
    std::size_t tensor;
  };

  [[noreturn]] void refuse(std::string const& sentence) const { fail(*path_, sentence); }
  [[noreturn]] void refuse(std::string_view name, std::string const& sentence) const {
    refuse("tensor " + in_quotes(name) + " " + sentence);
  }

  void read_file(std::span<std::byte const> bytes) {
    if (bytes.size() < 8)
      refuse("has " + std::to_string(bytes.size()) +
             " bytes; a safetensors file begins with 8 that give its header's length");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    if (length > bytes.size() - 8)
      refuse("the header's length is " + std::to_string(length) + ", but only " +
             std::to_string(bytes.size() - 8) + " bytes follow it");
    if (length > max_safetensors_header)
      refuse("the header's length is " + std::to_string(length) + "; at most " +
             std::to_string(max_safetensors_header) + " is read");
    auto const header = bytes.subspan(8, static_cast<std::size_t>(length));
    std::string_view const text(reinterpret_cast<char const*>(header.data()), header.size());
    if (!text.starts_with('{')) refuse("the header does not begin with {");
    read_header(parse_json(text, *path_), bytes.subspan(8 + header.size()));
  }

  void read_header(nlohmann::json const& header, std::span<std::byte const> data) {
    std::vector<extent> extents;
    for (auto const& [name, entry] :
         header.get_ref<nlohmann::json::object_t const&>()) {  // a std::map: names come sorted
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
        refuse(
            tensors_[e.tensor].name,
            "begins at byte " + std::to_string(e.begin) + " of the data, " +
                (e.begin < covered ? "inside another, which ends" : "but the one before it ends") +
                " at " + std::to_string(covered));
      covered = e.end;
    }
    if (covered != data.size())
      refuse("has " + std::to_string(data.size()) + " bytes of data, but its tensors end at " +
             std::to_string(covered));
  }

  void read_metadata(nlohmann::json const& entry) {
    if (!entry.is_object()) refuse("__metadata__ is not an object");
    for (auto const& [key, value] : entry.get_ref<nlohmann::json::object_t const&>()) {
      if (!value.is_string())
        refuse("__metadata__ has a value that is not a string, that of " + in_quotes(key));
      metadata_.emplace(key, value.get_ref<std::string const&>());
    }
  }

  extent read_entry(std::string const& name, nlohmann::json const& entry, std::uint64_t available) {
    if (!entry.is_object()) refuse(name, "is not described by an object");
    for (char const* const key : {"dtype", "shape", "data_offsets"})
      if (!entry.contains(key)) refuse(name, "has no " + std::string(key));
    for (auto const& [key, value] : entry.get_ref<nlohmann::json::object_t const&>())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse(name, "has an unknown key " + in_quotes(key));

    tensor_view t;
    t.name = name;
    t.file = *path_;
    if (!entry["dtype"].is_string()) refuse(name, "has a dtype that is not a string");
    std::string const& type = entry["dtype"].get_ref<std::string const&>();
    auto const* const known = std::find_if(std::begin(stored_types), std::end(stored_types),
                                           [&](auto const& s) { return s.name == type; });
    if (known == std::end(stored_types)) refuse(name, "has an unknown dtype, " + in_quotes(type));
    t.type = known->type;

    if (!entry["shape"].is_array()) refuse(name, "has a shape that is not an array");
    auto const& shape = entry["shape"].get_ref<nlohmann::json::array_t const&>();
    if (shape.size() > max_safetensors_rank)
      refuse(name, "has " + std::to_string(shape.size()) + " dimensions; at most " +
                       std::to_string(max_safetensors_rank) + " are read");
    std::int64_t size = known->bytes;
    for (auto const& n : shape) {
      std::uint64_t const width = natural(n, name, "shape");
      if (width > INT64_MAX ||
          __builtin_mul_overflow(size, static_cast<std::int64_t>(width), &size))
        refuse(name, "has a shape whose size overflows");
      t.shape.push_back(static_cast<std::int64_t>(width));
    }
    t.bytes = size;

    auto const& offsets = entry["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2)
      refuse(name, "has data_offsets that are not an array of two");
    std::uint64_t const begin = natural(offsets[0], name, "data_offsets"),
                        end = natural(offsets[1], name, "data_offsets");
    if (begin > end)
      refuse(name, "ends at byte " + std::to_string(end) + ", before it begins, at " +
                       std::to_string(begin));
    if (end > available)
      refuse(name, "ends at byte " + std::to_string(end) + " of the data, which has only " +
                       std::to_string(available));
    if (end - begin != static_cast<std::uint64_t>(size))
      refuse(name, "occupies " + std::to_string(end - begin) + " bytes, but " + type + " " +
                       shape_text(t.shape) + " takes " + std::to_string(size));
    tensors_.push_back(std::move(t));
    return {begin, end, 0};
  }

  std::uint64_t natural(nlohmann::json const& number, std::string const& name,
                        char const* key) const {
    if (!number.is_number_unsigned())
      refuse(name,
             "has " + std::string(key) + " with something else than integers from 0 to 2^64 - 1");
    return number.get<std::uint64_t>();
  }

  std::unique_ptr<std::string const> path_;  // behind a pointer: views refer to it
  std::optional<mapped_file> file_;          // none where the bytes are somebody else's
  std::vector<tensor_view> tensors_;         // by name
  std::map<std::string, std::string> metadata_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
