// Linear maps packed for the CPU, as f32, bf16 or int8.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/half.hpp>
#include <plait/core/int8_block.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

PLAIT_NAMESPACE_BEGIN

/// Rows of a linear map that lie together: two vector registers of outputs.
inline constexpr std::int64_t panel_rows = 2 * PLAIT_PACKET;

/// How one panel lies in memory. A step is as many columns as are kept together; steps follow one
/// another, so that a kernel reads one stream whether it computes one token or many. A part [first,
/// first + n) of a row begins at a step and ends at one or at the row's end.
///   step, step_bytes                          columns and bytes of one
///   set(panel, lane, first, n, values)        one part of one row
///   get(panel, lane, first, n, values)
template <dtype Type>
struct panel_format;

/// [k][panel] floats.
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

/// [k / 2][panel][2] bfloat16: two columns share a 32-bit word, the lower one in its lower half, as
/// dot-product instructions read them.
template <>
struct panel_format<dtype::bf16> {
  static constexpr std::int64_t step = 2, step_bytes = panel_rows * 4;
  static void set(std::byte* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float const* values) {
    constexpr std::int64_t chunk = 64;
    std::byte* at = panel + (first / 2 * panel_rows + lane) * 4;
    for (std::int64_t c = 0; c < n; c += chunk) {
      std::int64_t const here = std::min(chunk, n - c);
      std::uint16_t narrow[chunk + 1];
      for (std::int64_t i = 0; i < here; ++i) narrow[i] = to_bf16(values[c + i]);
      narrow[here] = 0;  // beside an odd last column
      for (std::int64_t i = 0; i < here; i += 2, at += panel_rows * 4)
        std::memcpy(at, narrow + i, 4);
    }
  }
  static void get(std::byte const* panel, std::int64_t lane, std::int64_t first, std::int64_t n,
                  float* values) {
    std::uint16_t const* const at =
        reinterpret_cast<std::uint16_t const*>(panel) + first * panel_rows + 2 * lane;
    for (std::int64_t c = 0; c < n; ++c) values[c] = from_bf16(at[c / 2 * 2 * panel_rows + c % 2]);
  }
};

/// Blocks of 32 columns: [panel] binary16 scales, then [8][panel][4] bytes, value = scale * (byte -
/// 128). Bytes are unsigned because dot-product instructions want one unsigned side, and the
/// weights are the side whose offset costs no memory traffic to take back. Scales and bytes are
/// those of core/int8_block.hpp.
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

/// Linear maps in panels, [copy][rows / panel_rows] of panel_format<Type>.
/// Equation: f32 as they are; bf16 to the nearest, ties to even; int8 in blocks of 32 columns with
///   a binary16 scale s = max |v| / 127 each, value = s (byte - 128), byte = round(v / s) + 128 to
///   the nearest, ties to even; a block with a value that is not finite is NaN as a whole
/// Shapes: [copies][rows / panel][cols / step] of steps, `panel_rows` = 2 `PLAIT_PACKET`: f32
///   [panel], one column; bf16 [panel][2], two columns; int8 [panel] scales, then [8][panel][4]
///   bytes, 32 columns. What fills up the last panel and the last step is zero. `first` is a
///   multiple of `step`, and the part ends at a step or with the row; 32 is a multiple of every
///   step
/// Errors: those of buffer.hpp, also for setting what was borrowed; indices are not checked. Parts
///   that do not overlap may be set by several threads
/// Cost: `allocate` one allocation, `borrow` none: it takes the bytes of somebody else's
///   `storage()`, `bytes_of(t)` of them; setting and getting O(n), with a stride of a panel: in
///   parts of 64 columns, row by row, what a panel's rows write to stays in the nearest cache
/// Test: tests/unit/cpu/panel_matrix_test.cpp, tests/unit/layers/weights_test.cpp,
/// tests/unit/io/packed_test.cpp
template <dtype Type>
class panel_matrix : public tensor_shape {
 public:
  using format = panel_format<Type>;
  static constexpr dtype type = Type;
  static constexpr char const* layout = Type == dtype::f32    ? "f32"
                                        : Type == dtype::bf16 ? "bf16"
                                                              : "int8";

  void allocate(tensor const& t) {
    reshape(t);
    data_ = buffer<std::byte>(bytes_of(t));
  }
  /// Instead of allocate: the bytes of storage() of another one of this shape, which `owner` keeps.
  /// It cannot be set then (core/buffer.hpp).
  void borrow(tensor const& t, std::byte const* memory, std::shared_ptr<void const> owner) {
    reshape(t);
    data_ = buffer<std::byte>::borrow(memory, bytes_of(t), std::move(owner));
  }
  /// Of storage().
  static constexpr std::int64_t bytes_of(tensor const& t) {
    return t.copies * ((t.rows + panel_rows - 1) / panel_rows) *
           ((t.cols + format::step - 1) / format::step * format::step_bytes);
  }
  std::int64_t panels() const { return (rows_ + panel_rows - 1) / panel_rows; }
  std::byte const* panel_data(std::int64_t copy, std::int64_t p) const {
    return data_.data() + (copy * panels() + p) * panel_bytes_;
  }

  float at(std::int64_t copy, std::int64_t r, std::int64_t c) const {
    std::int64_t const first = c / format::step * format::step;
    float values[format::step];
    format::get(panel_data(copy, r / panel_rows), r % panel_rows, first, c - first + 1, values);
    return values[c - first];
  }
  float operator()(std::int64_t r, std::int64_t c = 0) const { return at(0, r, c); }
  /// Columns [first, first + n) of a row; they begin at a step and end at one or at the row's end.
  /// Rows may be set by several threads.
  void set_part(std::int64_t copy, std::int64_t r, std::int64_t first, std::int64_t n,
                float const* values) {
    format::set(data_.data() + (copy * panels() + r / panel_rows) * panel_bytes_, r % panel_rows,
                first, n, values);
  }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    set_part(copy, r, 0, cols_, values);
  }
  void get_row(std::int64_t copy, std::int64_t r, float* values) const {
    format::get(panel_data(copy, r / panel_rows), r % panel_rows, 0, cols_, values);
  }
  /// The memory itself, panels behind one another: what a packed file holds.
  buffer<std::byte> const& storage() const { return data_; }
  /// Reads what `other`, of the same shape, holds, which must stay where it is as long as this
  /// lives; gives up memory of its own.
  void share(panel_matrix const& other) {
    data_ = buffer<std::byte>::borrow(other.data_.data(), other.data_.size(), nullptr);
  }

 private:
  void reshape(tensor const& t) {
    set_shape(t);
    panel_bytes_ = (cols_ + format::step - 1) / format::step * format::step_bytes;
  }

  std::int64_t panel_bytes_ = 0;
  buffer<std::byte> data_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
