// Memory layout of a panel: as many rows of a linear map as two vector registers have floats,
// stored as f32, bf16 or int8.
// Test: tests/unit/cpu/panel_matrix_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/int8_block.hpp>
#include <plait/core/macros.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

PLAIT_NAMESPACE_BEGIN

/// Rows of weights in a panel: two vector registers of outputs.
inline constexpr std::int64_t panel_rows = 2 * PLAIT_PACKET;

/// Memory layout of one panel: `panel_rows` rows of weights, cut into steps of `step` columns and
/// `step_bytes` bytes. Steps follow one another, so that a microkernel reads one stream for any
/// number of tokens. set and get(panel, lane, first, n, values) write and read the columns [first,
/// first + n) of row `lane` of the panel; `first` is a multiple of `step`, and the part ends at a
/// step or with the row.
/// Equation: f32 as it is; bf16 to the nearest, ties to even; int8 value = scale (byte - 128) with
///   the scales and bytes of core/int8_block.hpp
/// Shapes: f32 [k][panel]. bf16 [k / 2][panel][2]: a 32-bit word has two columns, the lower column
///   in its lower half, as dot-product instructions read them. int8 blocks of 32 columns, each
///   [panel] binary16 scales, then [8][panel][4] bytes
/// Cost: O(n), with a stride of a panel
template <dtype Type>
struct panel_format;

template <>
struct panel_format<dtype::f32> {
  static constexpr std::int64_t step = 1, step_bytes = panel_rows * 4;
  static void set(std::byte* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float const* values) {
    float* const at = reinterpret_cast<float*>(panel) + first * panel_rows + lane;
    for (std::int64_t c = 0; c < n; ++c) at[c * panel_rows] = values[c];
  }
  static void get(std::byte const* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float* values) {
    float const* const at = reinterpret_cast<float const*>(panel) + first * panel_rows + lane;
    for (std::int64_t c = 0; c < n; ++c) values[c] = at[c * panel_rows];
  }
};

template <>
struct panel_format<dtype::bf16> {
  static constexpr std::int64_t step = 2, step_bytes = panel_rows * 4;
  static void set(std::byte* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float const* values) {
    constexpr std::int64_t chunk = 64;
    std::byte* at = panel + (first / 2 * panel_rows + lane) * 4;
    for (std::int64_t c = 0; c < n; c += chunk) {
      std::int64_t const count = std::min(chunk, n - c);
      std::uint16_t rounded[chunk + 1];
      for (std::int64_t i = 0; i < count; ++i) rounded[i] = to_bf16(values[c + i]);
      rounded[count] = 0;  // pads an odd last column
      for (std::int64_t i = 0; i < count; i += 2, at += panel_rows * 4)
        std::memcpy(at, rounded + i, 4);
    }
  }
  static void get(std::byte const* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float* values) {
    std::uint16_t const* const at =
        reinterpret_cast<std::uint16_t const*>(panel) + first * panel_rows + 2 * lane;
    for (std::int64_t c = 0; c < n; ++c) values[c] = from_bf16(at[c / 2 * 2 * panel_rows + c % 2]);
  }
};

/// Bytes are unsigned because dot-product instructions take one unsigned operand, and cancelling
/// the weights' offset costs no memory traffic.
template <>
struct panel_format<dtype::int8> {
  static constexpr std::int64_t step = int8_block, step_bytes = panel_rows * (2 + step);
  static void set(std::byte* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float const* values) {
    for (std::int64_t c = 0; c < n; c += step)
      set_block(panel + (first + c) / step * step_bytes, lane, std::min(step, n - c), values + c);
  }
  static void get(std::byte const* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float* values) {
    for (std::int64_t c = 0; c < n; ++c) {
      std::byte const* const block = panel + (first + c) / step * step_bytes;
      int const byte = std::to_integer<int>(block[panel_rows * 2 + place(lane, c % step)]);
      values[c] = from_f16(reinterpret_cast<std::uint16_t const*>(block)[lane]) *
                  static_cast<float>(byte - 128);
    }
  }

 private:
  static std::int64_t place(std::int64_t lane, std::int64_t c) {
    return (c / 4 * panel_rows + lane) * 4 + c % 4;
  }

  static void set_block(std::byte* block, std::int64_t lane, std::int64_t n, float const* values) {
    std::uint8_t bytes[step];
    reinterpret_cast<std::uint16_t*>(block)[lane] = quantize_block(values, n, bytes);
    for (std::int64_t c = 0; c < step; c += 4)
      std::memcpy(block + panel_rows * 2 + place(lane, c), bytes + c, 4);
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
