// Writes a file of f32 or bf16 tensors, which appears complete or not at all (new_file.hpp).
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/io/files/new_file.hpp>
#include <plait/io/files/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Declare every tensor, append their values in the order of declaration, in pieces of any size,
/// then commit. All goes to a temporary beside the target, which commit() renames onto it; without
/// commit() the target stays as it was.
///
/// ```cpp body
/// std::vector<float> const four{1, 2, 3, 4};
/// plait::io::safetensors_writer file("plait-reference-example.safetensors", {{"format", "pt"}});
/// file.declare("square", {2, 2});
/// file.append("square", four);  // without commit() nothing is left behind
/// ```
///
/// Equation: u64 length, JSON header, data in the order of declaration; the same calls write the
///   same bytes. bf16 rounds to nearest, ties to even. `finish` makes it last on the disk,
///   `put_in_place` renames it too, `commit` synchronizes the directory as well
/// Shapes: all tensors are declared before the first `append`; values are floats, in the order of
///   declaration, in pieces of any size; the header is padded with spaces to a multiple of 8 bytes
/// Errors: those of new_file.hpp. After one of them only destruction is of use; the target is as it
///   was
/// Cost: one fsync of the file, and in `commit` one of its directory; memory of the header and of a
///   buffer of 64 KiB
/// Source: the safetensors format
/// Test: tests/unit/io/files/safetensors_writer_test.cpp
class safetensors_writer {
 public:
  explicit safetensors_writer(std::string path, std::map<std::string, std::string> metadata = {},
                              stored_type type = stored_type::f32)
      : file_(std::move(path)), metadata_(std::move(metadata)), type_(type) {
    if (type_ != stored_type::f32 && type_ != stored_type::bf16)
      fail(file_.path(),
           "cannot be written as " + std::string(info(type_).name) + "; F32 and BF16 are offered");
  }

  std::string const& path() const { return file_.path(); }

  /// All tensors before the first append(); their data lie in this order.
  void declare(std::string name, std::vector<std::int64_t> shape) {
    if (begun_) refuse(name, "is declared after data was appended");
    if (name == "__metadata__") refuse(name, "has a name that the format reserves");
    if (shape.size() > max_safetensors_rank)
      refuse(name, "has " + std::to_string(shape.size()) + " dimensions; at most " +
                       std::to_string(max_safetensors_rank) + " are written");
    std::int64_t bytes = info(type_).bytes, end = 0;
    for (std::int64_t const n : shape)
      if (n < 0 || __builtin_mul_overflow(bytes, n, &bytes))
        refuse(name, "cannot have the shape " + shape_text(shape));
    if (__builtin_add_overflow(total_, bytes, &end))
      refuse(name, "makes the file larger than 2^63 bytes");
    if (!names_.insert(name).second) refuse(name, "is declared twice");
    tensors_.push_back({std::move(name), std::move(shape), total_, end});
    total_ = end;
  }

  /// The next values of tensor `name`, which must be the one whose turn it is.
  void append(std::string_view name, std::span<float const> values) {
    begin();
    skip_complete();
    if (values.empty()) return;
    if (current_ == tensors_.size() || tensors_[current_].name != name)
      refuse(name, current_ == tensors_.size()
                       ? "is appended after the last tensor was complete"
                       : "is appended while " + in_quotes(tensors_[current_].name) + " is due");
    std::int64_t const left = (tensors_[current_].end - written_) / info(type_).bytes;
    if (values.size() > static_cast<std::uint64_t>(left))
      refuse(name, "gets " + std::to_string(values.size()) + " values, but only " +
                       std::to_string(left) + " are missing");
    written_ += static_cast<std::int64_t>(values.size()) * info(type_).bytes;
    if (type_ == stored_type::f32) return file_.write(values.data(), values.size_bytes());
    constexpr std::size_t chunk = 1024;
    std::uint16_t narrow[chunk];
    for (std::size_t i = 0; i < values.size(); i += chunk) {
      std::size_t const n = std::min(chunk, values.size() - i);
      for (std::size_t k = 0; k < n; ++k) narrow[k] = to_bf16(values[i + k]);
      file_.write(narrow, n * sizeof narrow[0]);
    }
  }

  /// Everything is complete and has reached the disk; the target is as it was.
  void finish() {
    begin();
    skip_complete();
    if (file_.committed()) fail(path(), "was committed before");
    if (current_ < tensors_.size()) refuse(tensors_[current_].name, "is not complete");
    file_.finish();
  }
  /// finish(), and puts the file in the target's place.
  void commit() {
    put_in_place();
    // The file is in place whatever becomes of this: it makes the new name survive a crash where
    // the file system offers that.
    (void)sync_directory(new_file::directory_of(path()));
  }
  /// commit() for one who synchronizes the directory himself.
  void put_in_place() {
    finish();
    file_.commit();
  }

 private:
  struct entry {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int64_t begin, end;  // bytes in the data
  };

  [[noreturn]] void refuse(std::string_view name, std::string const& sentence) const {
    fail(path(), "tensor " + in_quotes(name) + " " + sentence);
  }

  void begin() {
    if (std::exchange(begun_, true)) return;
    std::string header = "{";
    try {
      if (!metadata_.empty())
        header.append("\"__metadata__\":").append(nlohmann::json(metadata_).dump()).append(",");
      for (entry const& t : tensors_)
        header.append(nlohmann::json(t.name).dump())
            .append(":{\"dtype\":\"")
            .append(info(type_).name)
            .append("\",\"shape\":")
            .append(nlohmann::json(t.shape).dump())
            .append(",\"data_offsets\":[")
            .append(std::to_string(t.begin))
            .append(",")
            .append(std::to_string(t.end))
            .append("]},");
    } catch (nlohmann::json::exception const& e) {
      fail(path(), std::string("a name or the metadata cannot be written: ") + printable(e.what()));
    }
    if (header.back() == ',') header.pop_back();
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    if (header.size() > max_safetensors_header)
      fail(path(), "cannot be written: its header would exceed " +
                       std::to_string(max_safetensors_header) + " bytes");
    std::uint64_t const length = header.size();
    file_.write(&length, sizeof length);
    file_.write(header);
  }

  void skip_complete() {
    while (current_ < tensors_.size() && written_ == tensors_[current_].end) ++current_;
  }

  new_file file_;
  std::map<std::string, std::string> metadata_;
  stored_type type_;
  std::vector<entry> tensors_;
  std::set<std::string> names_;
  std::size_t current_ = 0;
  std::int64_t written_ = 0, total_ = 0;
  bool begun_ = false;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
