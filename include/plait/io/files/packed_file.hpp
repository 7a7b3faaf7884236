// A packed file: the weights of a model as they lie in memory, to be mapped.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/tensor_view.hpp>
#include <plait/io/files/xxh64.hpp>
#include <plait/policy/tensor.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The first bytes of a packed file. Behind them come header_bytes of JSON, filled up with blanks,
/// then the tensors:
///
///   {"config": config.json of plait's own type, "panel_rows": rows of a panel,
///    "tensors": [{"name": "layers.0.mixer.q_proj",
///    "layout": "bf16", "shape": [copies, rows, cols],
///    "offset": ..., "bytes": ..., "checksum": XXH64}, ...]}
///
/// Offsets count from the end of the header and are multiples of 64; a tensor begins where the one
/// before it ends, rounded up to 64, and behind the last come 128 bytes or more, up to a multiple
/// of 64. What fills up is zero, and belongs to the checksum of the tensor before it.
struct packed_prefix {
  static constexpr std::uint32_t this_order = 0x01020304, this_version = 1;
  static constexpr char this_magic[8] = {'P', 'L', 'A', 'I', 'T', 'P', 'K', 'D'};

  char magic[8] = {'P', 'L', 'A', 'I', 'T', 'P', 'K', 'D'};
  std::uint32_t order = this_order, version = this_version;
  std::uint64_t header_bytes = 0, file_bytes = 0, header_checksum = 0, zeros[2] = {};
  std::uint64_t checksum = 0;  // of the bytes before it

  std::uint64_t sum() const {
    return xxh64::of(std::as_bytes(std::span(this, 1)).first(sizeof *this - 8));
  }
};
static_assert(sizeof(packed_prefix) == 64);

/// Bytes of the largest header that is read.
inline constexpr std::uint64_t max_packed_header = std::uint64_t{16} << 20;

/// Bytes from a tensor's first to the next one's, or to the file's end.
constexpr std::int64_t packed_extent(std::int64_t bytes, bool last) {
  return (bytes + (last ? buffer<std::byte>::slack_bytes : 0) + 63) / 64 * 64;
}

/// A tensor that can lie in somebody else's memory goes into a packed file as it is; any other as
/// rows of f32.
template <class Tensor>
concept borrowing_tensor = requires(Tensor& data, tensor const& t, std::byte const* memory,
                                    std::shared_ptr<void const> owner) {
  { Tensor::layout } -> std::convertible_to<std::string_view>;
  { Tensor::bytes_of(t) } -> std::convertible_to<std::int64_t>;
  { std::as_const(data).storage().data() } -> std::convertible_to<std::byte const*>;
  data.borrow(t, memory, owner);
};
template <class Tensor>
constexpr std::string_view packed_layout() {
  if constexpr (borrowing_tensor<Tensor>)
    return Tensor::layout;
  else
    return "rows";
}
template <class Tensor>
std::int64_t packed_bytes(tensor const& t) {
  if constexpr (borrowing_tensor<Tensor>)
    return Tensor::bytes_of(t);
  else
    return t.size() * 4;
}

/// "layers.3.mixer.in_proj", "head.weight"; a name for a tensor of model_weights::for_each_tensor.
inline std::string packed_name(int layer, std::string_view part, tensor const& t) {
  return (layer < 0 ? "" : "layers." + std::to_string(layer) + ".")
      .append(part)
      .append(".")
      .append(t.name);
}

/// One tensor of a packed file.
struct packed_tensor {
  std::string name, layout;
  std::vector<std::int64_t> shape;  // [copies, rows, cols]
  std::span<std::byte const> bytes;
  std::span<std::byte const> extent;  // with what fills up
  std::uint64_t checksum = 0;         // of the extent
};

/// A packed file, mapped. Whether they are those of a model, load_packed asks.
///
/// All numbers are little-endian. Version 1:
///
/// - 0 to 7: "PLAITPKD"
/// - 8 to 11: 0x01020304, the byte order
/// - 12 to 15: 1, the version of this format and of the panels'
/// - 16 to 23: length of the header, a multiple of 64
/// - 24 to 31: length of the file
/// - 32 to 39: XXH64 of the header
/// - 40 to 55: zeros
/// - 56 to 63: XXH64 of the 56 bytes before
/// - 64 and up: the header, filled up with blanks
/// - behind it: the tensors, each from a multiple of 64 on, filled up with zeros; behind the last
///   at least 128 bytes of them
///
/// ```text
/// {"config": config.json of plait's own type,
///  "panel_rows": rows of a panel,
///  "tensors": [{"name": "layers.0.mixer.q_proj",  in the order of the model's for_each_tensor
///               "layout": "bf16",  f32, bf16 or int8 in panels, or rows: f32, row-major
///               "shape": [copies, rows, cols],
///               "offset": bytes from the end of the header, "bytes": without what fills up,
///               "checksum": XXH64 of the bytes up to the next tensor}, ...]}
/// ```
/// Equation: 64 bytes of prefix, JSON, data, as below. The constructor checks prefix and header
///   with their checksums, and that the tensors lie side by side up to the end of the file;
///   `verify` checks the tensors' bytes
/// Shapes: a header of at most 16 MiB. `bytes` is a file in memory already, aligned to 64, which
///   must outlive the object and the models of it
/// Errors: beside these, those of json.hpp and mapped_file.hpp
///   - `begins at an address that is not a multiple of 64, where its weights could not be used`:
///     bytes in memory
///   - `has … bytes, but was written with …`: cut off, or longer
///   - `is …; expected an integer from 0 to 2^63 - 1`: panel_rows, or a number of a tensor
///   - `is not an object`: an entry of the header's tensors, `entry N of the header's tensors`
///   - `has no …`: such an entry, a key
///   - `has a … that is not a string`: such an entry, its name or layout
///   - `is damaged: the checksum of its bytes is …, expected …`: from `verify`
/// Cost: the header is read and kept; no tensor is touched but by `verify`
/// Source: XXH64, see xxh64.hpp
/// Test: tests/unit/io/packed_test.cpp, tests/checks/fuzz/packed.cpp
class packed_file {
 public:
  explicit packed_file(std::string path) : path_(std::move(path)), file_(path_) {
    read_file(file_->bytes());
  }
  /// A file that is in memory already, aligned to 64 bytes. `bytes` must outlive this object and
  /// what is loaded of it; messages call them `path`, and nothing is opened.
  packed_file(std::string path, std::span<std::byte const> bytes) : path_(std::move(path)) {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % buffer<std::byte>::alignment != 0)
      refuse(
          "begins at an address that is not a multiple of 64, where its weights could not be used");
    read_file(bytes);
  }
  packed_file(packed_file const&) = delete;
  packed_file& operator=(packed_file const&) = delete;

  std::string const& path() const { return path_; }
  config_file const& config() const { return *config_; }
  std::int64_t rows_of_panels() const { return panel_rows_; }
  /// In the order of the model's.
  std::vector<packed_tensor> const& tensors() const { return tensors_; }

  /// Reads everything; plait::error names the first tensor whose bytes are not those that were
  /// written.
  void verify() const {
    for (packed_tensor const& t : tensors_)
      if (std::uint64_t const is = xxh64::of(t.extent); is != t.checksum)
        refuse(t.name, "is damaged: the checksum of its bytes is " + std::to_string(is) +
                           ", expected " + std::to_string(t.checksum));
  }

  [[noreturn]] void refuse(std::string const& sentence) const { fail(path_, sentence); }
  [[noreturn]] void refuse(std::string_view name, std::string const& sentence) const {
    refuse("tensor " + in_quotes(name) + " " + sentence);
  }

 private:
  void read_file(std::span<std::byte const> bytes) {
    packed_prefix prefix;
    if (bytes.size() < sizeof prefix)
      refuse("has " + std::to_string(bytes.size()) + " bytes; a packed file begins with 64");
    std::memcpy(&prefix, bytes.data(), sizeof prefix);
    if (std::memcmp(prefix.magic, packed_prefix::this_magic, sizeof prefix.magic) != 0)
      refuse("is not a packed file: it does not begin with \"PLAITPKD\"");
    if (prefix.order == __builtin_bswap32(packed_prefix::this_order))
      refuse(
          "was packed on a machine with the other byte order; load the checkpoint here and pack it "
          "again");
    if (prefix.order != packed_prefix::this_order)
      refuse("has a byte order that no machine has; the file is damaged");
    if (prefix.version != packed_prefix::this_version)
      refuse("is of version " + std::to_string(prefix.version) +
             " of the format, but this program reads version " +
             std::to_string(packed_prefix::this_version) +
             "; load the checkpoint and pack it again");
    if (prefix.checksum != prefix.sum())
      refuse("its first 64 bytes are damaged: their checksum is " + std::to_string(prefix.sum()) +
             ", expected " + std::to_string(prefix.checksum));
    if (prefix.file_bytes != bytes.size())
      refuse("has " + std::to_string(bytes.size()) + " bytes, but was written with " +
             std::to_string(prefix.file_bytes));
    if (prefix.header_bytes > max_packed_header || prefix.header_bytes % 64 != 0)
      refuse("the header's length is " + std::to_string(prefix.header_bytes) +
             "; expected a multiple of 64, at most " + std::to_string(max_packed_header));
    if (prefix.header_bytes > bytes.size() - sizeof prefix)
      refuse("the header's length is " + std::to_string(prefix.header_bytes) + ", but only " +
             std::to_string(bytes.size() - sizeof prefix) + " bytes follow it");
    auto const header = bytes.subspan(sizeof prefix, static_cast<std::size_t>(prefix.header_bytes));
    if (std::uint64_t const is = xxh64::of(header); is != prefix.header_checksum)
      refuse("the header is damaged: its checksum is " + std::to_string(is) + ", expected " +
             std::to_string(prefix.header_checksum));
    read_header(parse_json({reinterpret_cast<char const*>(header.data()), header.size()}, path_),
                bytes.subspan(sizeof prefix + header.size()));
  }

  void read_header(nlohmann::json const& header, std::span<std::byte const> data) {
    if (!header.is_object()) refuse("the header is not an object");
    for (char const* const key : {"config", "panel_rows", "tensors"})
      if (!header.contains(key)) refuse("the header has no " + std::string(key));
    if (!header["config"].is_object()) refuse("the header's config is not an object");
    config_.emplace(header["config"].dump(), path_);
    panel_rows_ = natural(header["panel_rows"], "the header's panel_rows");
    if (!header["tensors"].is_array()) refuse("the header's tensors are not an array");
    auto const& list = header["tensors"].get_ref<nlohmann::json::array_t const&>();
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < list.size(); ++i)
      begin = read_entry(list[i], i + 1 == list.size(), begin, data);
    if (begin != data.size())
      refuse("has " + std::to_string(data.size()) + " bytes of data, but its tensors end at " +
             std::to_string(begin));
  }

  /// The tensor that begins at `begin`; returns where the next one has to.
  std::uint64_t read_entry(nlohmann::json const& entry, bool last, std::uint64_t begin,
                           std::span<std::byte const> data) {
    std::string const which =
        "entry " + std::to_string(tensors_.size()) + " of the header's tensors";
    if (!entry.is_object()) refuse(which + " is not an object");
    for (char const* const key : {"name", "layout", "shape", "offset", "bytes", "checksum"})
      if (!entry.contains(key)) refuse(which + " has no " + key);
    for (char const* const key : {"name", "layout"})
      if (!entry[key].is_string()) refuse(which + " has a " + key + " that is not a string");
    packed_tensor t;
    t.name = entry["name"].get_ref<std::string const&>();
    t.layout = entry["layout"].get_ref<std::string const&>();
    std::string const of = "tensor " + in_quotes(t.name) + ": ";
    if (!entry["shape"].is_array() || entry["shape"].size() != 3)
      refuse(t.name, "has a shape that is not an array of three");
    for (auto const& n : entry["shape"]) t.shape.push_back(natural(n, of + "shape"));
    if (!entry["checksum"].is_number_unsigned())
      refuse(t.name, "has a checksum that is not an integer from 0 to 2^64 - 1");
    t.checksum = entry["checksum"].get<std::uint64_t>();
    auto const offset = static_cast<std::uint64_t>(natural(entry["offset"], of + "offset")),
               bytes = static_cast<std::uint64_t>(natural(entry["bytes"], of + "bytes"));
    if (offset != begin)
      refuse(t.name, "begins at byte " + std::to_string(offset) + " of the data, expected " +
                         std::to_string(begin));
    if (bytes > data.size() || packed_extent(static_cast<std::int64_t>(bytes), last) >
                                   static_cast<std::int64_t>(data.size() - begin))
      refuse(t.name, "has " + std::to_string(bytes) + " bytes from byte " + std::to_string(begin) +
                         " of the data, which has only " + std::to_string(data.size()));
    t.extent = data.subspan(
        begin, static_cast<std::size_t>(packed_extent(static_cast<std::int64_t>(bytes), last)));
    t.bytes = t.extent.first(bytes);
    begin += t.extent.size();
    tensors_.push_back(std::move(t));
    return begin;
  }

  std::int64_t natural(nlohmann::json const& number, std::string const& what) const {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > INT64_MAX)
      refuse(what + " is " + config_reader::text(number) +
             "; expected an integer from 0 to 2^63 - 1");
    return number.get<std::int64_t>();
  }

  std::string path_;
  std::optional<mapped_file> file_;  // none where the bytes are somebody else's
  std::optional<config_file> config_;
  std::int64_t panel_rows_ = 0;
  std::vector<packed_tensor> tensors_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
