// A packed file: the weights of a model in their layout in memory, ready to be mapped.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/packed_format.hpp>
#include <plait/io/files/xxh64.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// One tensor of a packed file.
struct packed_tensor {
  std::string name;
  std::string layout;
  std::vector<std::int64_t> shape;  ///< [copies, rows, cols]
  std::span<std::byte const> bytes;
  std::span<std::byte const> extent;  ///< with padding
  std::uint64_t checksum = 0;         ///< of the extent
};

/// A packed file (packed_format.hpp), mapped. The constructor checks the prefix and the header by
/// their checksums, and that the tensors cover the data without gaps; `verify` checks the tensors'
/// bytes. Whether the tensors are those of a model is for load_packed to check.
/// Shapes: a header of at most 16 MiB. `bytes` is a file in memory, aligned to 64 bytes, which must
///   outlive the object and the models loaded from it
/// Errors: those of json.hpp and mapped_file.hpp, and:
///   - `begins at an address that is not a multiple of 64, where its weights cannot be used`: a
///     file in memory
///   - `has … bytes, but was written with …`: the file is truncated or extended
///   - `… is …; expected an integer from 0 to 2^63 - 1`: panel_rows, or a number of a tensor
///   - `entry … of the header's tensors is not an object`: in "tensors"
///   - `entry … of the header's tensors has no …`: a key is missing
///   - `entry … of the header's tensors has a … that is not a string`: name or layout
///   - `tensor … is damaged: the checksum of its bytes is …, expected …`: thrown by `verify`
/// Cost: reads the header; only `verify` reads tensors
/// Source: XXH64, see xxh64.hpp
/// Test: tests/unit/io/packed_test.cpp, tests/checks/fuzz/packed.cpp
class packed_file {
 public:
  explicit packed_file(std::string path) : path_(std::move(path)), file_(path_) {
    read_file(file_->bytes());
  }
  /// A file in memory, aligned to 64 bytes; `path` is for error messages only.
  packed_file(std::string path, std::span<std::byte const> bytes) : path_(std::move(path)) {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % buffer<std::byte>::alignment != 0)
      refuse("begins at an address that is not a multiple of 64, where its weights cannot be used");
    read_file(bytes);
  }
  packed_file(packed_file const&) = delete;
  packed_file& operator=(packed_file const&) = delete;

  std::string const& path() const { return path_; }
  config_file const& config() const { return *config_; }
  std::int64_t rows_of_panels() const { return panel_rows_; }
  /// In the order of the model's for_each_tensor.
  std::vector<packed_tensor> const& tensors() const { return tensors_; }

  /// Compares the checksums of all tensors; throws plait::error for the first that differs.
  void verify() const {
    for (packed_tensor const& t : tensors_)
      if (std::uint64_t const found = xxh64::of(t.extent); found != t.checksum)
        refuse("tensor {} is damaged: the checksum of its bytes is {}, expected {}",
               in_quotes(t.name), found, t.checksum);
  }

  /// Throws plait::error about this file: "FILE: FORMAT", as fail (fail.hpp).
  template <class... Values>
  [[noreturn]] void refuse(plait::detail::sentence_text<std::type_identity_t<Values>...> format,
                           Values const&... values) const {
    fail<Values...>(path_, format, values...);
  }

 private:
  void read_file(std::span<std::byte const> bytes) {
    packed_prefix prefix;
    if (bytes.size() < sizeof prefix)
      refuse("has {} bytes; a packed file begins with 64", bytes.size());
    std::memcpy(&prefix, bytes.data(), sizeof prefix);
    if (std::memcmp(prefix.magic, packed_prefix::this_magic, sizeof prefix.magic) != 0)
      refuse("is not a packed file: it does not begin with \"PLAITPKD\"");
    if (prefix.order == __builtin_bswap32(packed_prefix::this_order))
      refuse(
          "was packed on a machine of the other byte order; load the checkpoint and pack it again");
    if (prefix.order != packed_prefix::this_order)
      refuse("has an impossible byte order; the file is damaged");
    if (prefix.version != packed_prefix::this_version)
      refuse(
          "is of version {} of the format, but this program reads version {}; load the checkpoint "
          "and pack it again",
          prefix.version, packed_prefix::this_version);
    if (prefix.checksum != prefix.sum())
      refuse("its first 64 bytes are damaged: their checksum is {}, expected {}", prefix.sum(),
             prefix.checksum);
    if (prefix.file_bytes != bytes.size())
      refuse("has {} bytes, but was written with {}", bytes.size(), prefix.file_bytes);
    if (prefix.header_bytes > max_packed_header || prefix.header_bytes % 64 != 0)
      refuse("the header's length is {}; expected a multiple of 64, at most {}",
             prefix.header_bytes, max_packed_header);
    if (prefix.header_bytes > bytes.size() - sizeof prefix)
      refuse("the header's length is {}, but only {} bytes follow it", prefix.header_bytes,
             bytes.size() - sizeof prefix);
    auto const header = bytes.subspan(sizeof prefix, static_cast<std::size_t>(prefix.header_bytes));
    if (std::uint64_t const found = xxh64::of(header); found != prefix.header_checksum)
      refuse("the header is damaged: its checksum is {}, expected {}", found,
             prefix.header_checksum);
    read_header(parse_json({reinterpret_cast<char const*>(header.data()), header.size()}, path_),
                bytes.subspan(sizeof prefix + header.size()));
  }

  void read_header(nlohmann::json const& header, std::span<std::byte const> data) {
    if (!header.is_object()) refuse("the header is not an object");
    for (char const* const key : {"config", "panel_rows", "tensors"})
      if (!header.contains(key)) refuse("the header has no {}", key);
    if (!header["config"].is_object()) refuse("the header's config is not an object");
    config_.emplace(header["config"].dump(), path_);
    panel_rows_ = natural(header["panel_rows"], "the header's panel_rows");
    if (!header["tensors"].is_array()) refuse("the header's tensors are not an array");
    auto const& list = header["tensors"].get_ref<nlohmann::json::array_t const&>();
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < list.size(); ++i)
      begin = read_entry(list[i], i + 1 == list.size(), begin, data);
    if (begin != data.size())
      refuse("has {} bytes of data, but its tensors end at {}", data.size(), begin);
  }

  /// Reads the tensor that must begin at `begin`; returns the offset of the next one.
  std::uint64_t read_entry(nlohmann::json const& entry, bool last, std::uint64_t begin,
                           std::span<std::byte const> data) {
    std::size_t const i = tensors_.size();
    if (!entry.is_object()) refuse("entry {} of the header's tensors is not an object", i);
    for (char const* const key : {"name", "layout", "shape", "offset", "bytes", "checksum"})
      if (!entry.contains(key)) refuse("entry {} of the header's tensors has no {}", i, key);
    for (char const* const key : {"name", "layout"})
      if (!entry[key].is_string())
        refuse("entry {} of the header's tensors has a {} that is not a string", i, key);
    packed_tensor t;
    t.name = entry["name"].get_ref<std::string const&>();
    t.layout = entry["layout"].get_ref<std::string const&>();
    std::string const quoted = in_quotes(t.name);
    if (!entry["shape"].is_array() || entry["shape"].size() != 3)
      refuse("tensor {} has a shape that is not an array of three", quoted);
    for (auto const& n : entry["shape"])
      t.shape.push_back(natural(n, sentence("tensor {}: shape", quoted)));
    if (!entry["checksum"].is_number_unsigned())
      refuse("tensor {} has a checksum that is not an integer from 0 to 2^64 - 1", quoted);
    t.checksum = entry["checksum"].get<std::uint64_t>();
    auto const offset =
        static_cast<std::uint64_t>(natural(entry["offset"], sentence("tensor {}: offset", quoted)));
    auto const bytes =
        static_cast<std::uint64_t>(natural(entry["bytes"], sentence("tensor {}: bytes", quoted)));
    if (offset != begin)
      refuse("tensor {} begins at byte {} of the data, expected {}", quoted, offset, begin);
    if (bytes > data.size() || packed_extent(static_cast<std::int64_t>(bytes), last) >
                                   static_cast<std::int64_t>(data.size() - begin))
      refuse("tensor {} has {} bytes from byte {} of the data, which has only {}", quoted, bytes,
             begin, data.size());
    t.extent = data.subspan(
        begin, static_cast<std::size_t>(packed_extent(static_cast<std::int64_t>(bytes), last)));
    t.bytes = t.extent.first(bytes);
    begin += t.extent.size();
    tensors_.push_back(std::move(t));
    return begin;
  }

  std::int64_t natural(nlohmann::json const& number, std::string const& what) const {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > INT64_MAX)
      refuse("{} is {}; expected an integer from 0 to 2^63 - 1", what, config_reader::text(number));
    return number.get<std::int64_t>();
  }

  std::string path_;
  std::optional<mapped_file> file_;  // empty for a file in the caller's memory
  std::optional<config_file> config_;
  std::int64_t panel_rows_ = 0;
  std::vector<packed_tensor> tensors_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
