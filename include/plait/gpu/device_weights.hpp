// Linear maps as kernels read them, in f32, bf16 or int8.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/macros.hpp>
#include <plait/policy/precision.hpp>

#include <cstddef>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// A linear map [copies][rows][cols] as kernels read it, in the device's memory.
///
/// f32 and bf16 are row-major. int8 has tiles of 16 rows and 32 columns, 16 bytes per lane in the
/// order in which mma.m16n8k16 takes them (`place`), and 16 binary16 scales per tile.
///
/// Equation: int8 is value = scale byte, byte from -127 to 127, a scale per row and 32 columns: the
///   values of the CPU's weights, bit for bit (core/int8_block.hpp)
/// Shapes: rows are padded with zeros to a multiple of 16, columns to a multiple of 16 bytes (f32)
///   or of 32 (bf16, int8). A tile has 512 bytes; the scales are an array of their own
/// Test: tests/unit/gpu/device_storage_test.cpp
template <dtype Type>
struct device_weights {
  static constexpr dtype type = Type;
  static constexpr std::int64_t tile_rows = 16;
  static constexpr std::int64_t tile_cols = 32;
  static constexpr std::int64_t tile_bytes = tile_rows * tile_cols;

  std::byte const* data = nullptr;
  std::uint16_t const* scales = nullptr;  ///< int8 only: [copies][rows / 16][cols / 32][16]
  std::int64_t copies = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  PLAIT_HD constexpr std::int64_t row_tiles() const { return (rows + tile_rows - 1) / tile_rows; }
  PLAIT_HD constexpr std::int64_t col_tiles() const { return (cols + tile_cols - 1) / tile_cols; }
  PLAIT_HD constexpr std::int64_t padded_rows() const { return row_tiles() * tile_rows; }
  /// Values from one row to the next (f32 and bf16).
  PLAIT_HD constexpr std::int64_t stride() const {
    return Type == dtype::f32 ? (cols + 3) / 4 * 4 : col_tiles() * tile_cols;
  }
  PLAIT_HD constexpr std::int64_t copy_bytes() const {
    return Type == dtype::f32    ? padded_rows() * stride() * 4
           : Type == dtype::bf16 ? padded_rows() * stride() * 2
                                 : row_tiles() * col_tiles() * tile_bytes;
  }
  PLAIT_HD constexpr std::int64_t copy_scales() const {
    return Type == dtype::int8 ? row_tiles() * col_tiles() * tile_rows : 0;
  }

  /// Copy e.
  PLAIT_HD constexpr device_weights copy(std::int64_t e) const {
    return {data + e * copy_bytes(), Type == dtype::int8 ? scales + e * copy_scales() : nullptr, 1,
            rows, cols};
  }
  /// Offset of the byte of (row, col) of copy 0 (int8). Lane (row % 8) * 4 + col % 32 / 8 of a tile
  /// holds 8 columns of the rows g = row % 8 and g + 8; a word of 4 bytes has column 2 i in bytes 0
  /// and 1 (rows g and g + 8), column 2 i + 1 in bytes 2 and 3.
  PLAIT_HD constexpr std::int64_t place(std::int64_t row, std::int64_t col) const {
    std::int64_t const tile = row / tile_rows * col_tiles() + col / tile_cols;
    std::int64_t const lane = row % 8 * 4 + col % tile_cols / 8;
    std::int64_t const word = col % 8 / 2;
    std::int64_t const byte = row % tile_rows / 8 + 2 * (col % 2);
    return tile * tile_bytes + lane * 16 + word * 4 + byte;
  }
  /// Index of the scale of (row, col) of copy 0 (int8).
  PLAIT_HD constexpr std::int64_t scale_place(std::int64_t row, std::int64_t col) const {
    return (row / tile_rows * col_tiles() + col / tile_cols) * tile_rows + row % tile_rows;
  }
  /// One value of copy 0: slow, and the definition of the layout.
  PLAIT_HD float at(std::int64_t row, std::int64_t col) const {
    if constexpr (Type == dtype::f32)
      return reinterpret_cast<float const*>(data)[row * stride() + col];
    else if constexpr (Type == dtype::bf16)
      return from_bf16(reinterpret_cast<std::uint16_t const*>(data)[row * stride() + col]);
    else
      return from_f16(scales[scale_place(row, col)]) *
             static_cast<float>(
                 static_cast<std::int8_t>(static_cast<std::uint8_t>(data[place(row, col)])));
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
