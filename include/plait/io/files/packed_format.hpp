// The binary format of packed files.
// Test: tests/unit/io/packed_test.cpp, tests/checks/fuzz/packed.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/io/files/xxh64.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The first 64 bytes of a packed file. All numbers of the format are little-endian. Version 1:
///
/// - 0 to 7: "PLAITPKD"
/// - 8 to 11: 0x01020304, the byte order
/// - 12 to 15: 1, the version of this format and of the panel layout
/// - 16 to 23: length of the header, a multiple of 64
/// - 24 to 31: length of the file
/// - 32 to 39: XXH64 of the header
/// - 40 to 55: zeros
/// - 56 to 63: XXH64 of the 56 bytes before
/// - from 64: the header, JSON padded with blanks
/// - after the header: the tensors, each at a multiple of 64 and padded with zeros; the last one
///   with at least 128 bytes of them
///
/// ```text
/// {"config": config.json of model type plait,
///  "panel_rows": rows per panel,
///  "tensors": [{"name": "layers.0.mixer.q_proj",  in the order of the model's for_each_tensor
///               "layout": "bf16",  f32, bf16 or int8 in panels, or rows: f32, row-major
///               "shape": [copies, rows, cols],
///               "offset": bytes from the end of the header, "bytes": without padding,
///               "checksum": XXH64 of the bytes up to the next tensor}, ...]}
/// ```
struct packed_prefix {
  static constexpr std::uint32_t this_order = 0x01020304;
  static constexpr std::uint32_t this_version = 1;
  static constexpr char this_magic[8] = {'P', 'L', 'A', 'I', 'T', 'P', 'K', 'D'};

  char magic[8] = {'P', 'L', 'A', 'I', 'T', 'P', 'K', 'D'};
  std::uint32_t order = this_order;
  std::uint32_t version = this_version;
  std::uint64_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t header_checksum = 0;
  std::uint64_t zeros[2] = {};
  std::uint64_t checksum = 0;

  /// What `checksum` has to be: the XXH64 of the bytes before it.
  std::uint64_t sum() const {
    return xxh64::of(std::as_bytes(std::span(this, 1)).first(sizeof *this - 8));
  }
};
static_assert(sizeof(packed_prefix) == 64);

/// Longest header that is read, in bytes.
inline constexpr std::uint64_t max_packed_header = std::uint64_t{16} << 20;

/// Bytes of a tensor with its padding, up to the next tensor or to the end of the file.
constexpr std::int64_t packed_extent(std::int64_t bytes, bool last) {
  return (bytes + (last ? buffer<std::byte>::slack_bytes : 0) + 63) / 64 * 64;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
