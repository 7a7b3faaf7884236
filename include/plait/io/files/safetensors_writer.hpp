// Writes a file of f32 or bf16 tensors, which appears complete or not at all.
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
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Writes one safetensors file: declare every tensor, append their values in the order of
/// declaration, commit. The target appears complete at commit() or stays as it was.
///
/// ```cpp body
/// std::vector<float> const four{1, 2, 3, 4};
/// plait::io::safetensors_writer file("plait-reference-example.safetensors", {{"format", "pt"}});
/// file.declare("square", {2, 2});
/// file.append("square", four);  // without commit() no file is left
/// ```
///
/// Equation: u64 length, JSON header, data in the order of declaration; the same calls write the
///   same bytes. bf16 rounds to nearest, ties to even
/// Shapes: values are floats, in pieces of any size; spaces pad the header to a multiple of 8 bytes
/// Errors: those of new_file.hpp. After an error the object can only be destroyed; the target stays
///   as it was
/// Cost: one fsync of the file, and one of its directory in `commit`; memory for the header and a
///   buffer of 64 KiB
/// Source: the safetensors format
/// Test: tests/unit/io/files/safetensors_writer_test.cpp
class safetensors_writer {
 public:
  explicit safetensors_writer(std::string path, std::map<std::string, std::string> metadata = {},
                              stored_type type = stored_type::f32)
      : file_(std::move(path)), metadata_(std::move(metadata)), type_(type) {
    if (type_ != stored_type::f32 && type_ != stored_type::bf16)
      fail(file_.path(), "cannot be written as {}; expected F32 or BF16", info(type_).name);
  }

  std::string const& path() const { return file_.path(); }

  /// Adds a tensor. All are declared before the first append(), in the order of their data.
  void declare(std::string name, std::vector<std::int64_t> shape) {
    std::string const quoted = in_quotes(name);
    if (begun_) refuse("tensor {} is declared after data was appended", quoted);
    if (name == "__metadata__") refuse("tensor {} has a name that the format reserves", quoted);
    if (shape.size() > max_safetensors_rank)
      refuse("tensor {} has {} dimensions; at most {} are written", quoted, shape.size(),
             max_safetensors_rank);
    std::int64_t bytes = info(type_).bytes;
    std::int64_t end = 0;
    for (std::int64_t const n : shape)
      if (n < 0 || __builtin_mul_overflow(bytes, n, &bytes))
        refuse("tensor {} cannot have the shape {}", quoted, shape_text(shape));
    if (__builtin_add_overflow(total_, bytes, &end))
      refuse("tensor {} makes the file larger than 2^63 bytes", quoted);
    if (!names_.insert(name).second) refuse("tensor {} is declared twice", quoted);
    tensors_.push_back({std::move(name), std::move(shape), total_, end});
    total_ = end;
  }

  /// Writes the next values of tensor `name`, which must be the first incomplete one.
  void append(std::string_view name, std::span<float const> values) {
    begin();
    skip_complete();
    if (values.empty()) return;
    if (current_ == tensors_.size())
      refuse("tensor {} is appended after the last tensor was complete", in_quotes(name));
    if (tensors_[current_].name != name)
      refuse("tensor {} is appended while {} is due", in_quotes(name),
             in_quotes(tensors_[current_].name));
    std::int64_t const missing = (tensors_[current_].end - written_) / info(type_).bytes;
    if (values.size() > static_cast<std::uint64_t>(missing))
      refuse("tensor {} gets {} values, but only {} are missing", in_quotes(name), values.size(),
             missing);
    written_ += static_cast<std::int64_t>(values.size()) * info(type_).bytes;
    if (type_ == stored_type::f32) return file_.write(values.data(), values.size_bytes());
    constexpr std::size_t chunk = 1024;
    std::uint16_t halves[chunk];
    for (std::size_t i = 0; i < values.size(); i += chunk) {
      std::size_t const n = std::min(chunk, values.size() - i);
      for (std::size_t k = 0; k < n; ++k) halves[k] = to_bf16(values[i + k]);
      file_.write(halves, n * sizeof halves[0]);
    }
  }

  /// Checks that every tensor is complete and synchronizes the temporary; the target stays as it
  /// was.
  void finish() {
    begin();
    skip_complete();
    if (file_.committed()) fail(path(), "was committed before");
    if (current_ < tensors_.size())
      refuse("tensor {} is not complete", in_quotes(tensors_[current_].name));
    file_.finish();
  }
  /// finish(), renames the temporary onto the target and synchronizes the directory.
  void commit() {
    put_in_place();
    // The file is complete and in place, so that a failure to make its name durable is no error.
    (void)sync_directory(new_file::directory_of(path()));
  }
  /// commit() without the synchronization of the directory.
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

  template <class... Values>
  [[noreturn]] void refuse(plait::detail::sentence_text<std::type_identity_t<Values>...> format,
                           Values const&... values) const {
    fail<Values...>(path(), format, values...);
  }

  void begin() {
    if (std::exchange(begun_, true)) return;
    std::string header = "{";
    try {
      if (!metadata_.empty())
        header.append("\"__metadata__\":").append(nlohmann::json(metadata_).dump()).append(",");
      for (entry const& t : tensors_)
        header += sentence(R"({}:{"dtype":"{}","shape":{},"data_offsets":[{},{}]},)",
                           nlohmann::json(t.name).dump(), info(type_).name,
                           nlohmann::json(t.shape).dump(), t.begin, t.end);
    } catch (nlohmann::json::exception const& e) {
      fail(path(), "a name or the metadata cannot be written: {}", printable(e.what()));
    }
    if (header.back() == ',') header.pop_back();
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    if (header.size() > max_safetensors_header)
      fail(path(), "cannot be written: its header would exceed {} bytes", max_safetensors_header);
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
  std::int64_t written_ = 0;  // bytes of data
  std::int64_t total_ = 0;
  bool begun_ = false;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
