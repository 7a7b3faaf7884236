// Linear maps packed for the CPU, as f32, bf16 or int8.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/cpu/panel_format.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

PLAIT_NAMESPACE_BEGIN

/// A linear map [copies][rows][cols] in panels (cpu/panel_format.hpp). Several threads may set
/// parts that do not overlap.
///
/// Equation: f32 as they are; bf16 to the nearest, ties to even; int8 in blocks of 32 columns with
///   a binary16 scale s = max |v| / 127 each, value = s (byte - 128), byte = round(v / s) + 128 to
///   the nearest, ties to even; a block with a value that is not finite is NaN throughout
/// Shapes: [copies][rows / panel][cols / step] of steps, `panel_rows` = 2 `PLAIT_PACKET`. The last
///   panel and the last step are padded with zeros. 32 is a multiple of every step
/// Errors: those of core/buffer.hpp, also for setting borrowed memory; indices are not checked
/// Cost: `allocate` one allocation, `borrow` none; setting and getting O(n), with a stride of a
///   panel: in parts of 64 columns, row by row, the panel's cache lines stay in the L1 cache
/// Test: tests/unit/cpu/panel_matrix_test.cpp, tests/unit/layers/weights_test.cpp,
///   tests/unit/io/packed_test.cpp
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
  /// Instead of allocate: reads the bytes of another matrix's storage(), bytes_of(t) of them, which
  /// `owner` keeps alive. A borrowed matrix is read-only.
  void borrow(tensor const& t, std::byte const* memory, std::shared_ptr<void const> const& owner) {
    reshape(t);
    data_ = buffer<std::byte>::borrow(memory, bytes_of(t), owner);
  }
  /// Bytes of storage().
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
  /// Sets the columns [first, first + n) of a row, from the beginning of a step to the end of one
  /// or of the row.
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
  /// The panels' memory, in order: the tensor's bytes in a packed file.
  buffer<std::byte> const& storage() const { return data_; }
  /// Frees this matrix's memory and reads that of `other`, which has the same shape, must outlive
  /// this matrix and must not move.
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
