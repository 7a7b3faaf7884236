// Storages: a storage maps each role of a tensor to a tensor type; `plain` is row-major.
//
// Every tensor type has the following members, so that loading, saving, initialization and
// comparison depend on no layout. Copy, row and column are not checked.
//
// - `allocate(tensor)`: zeros of that shape
// - `set_row(copy, row, values)` and `get_row(copy, row, values)`
// - `rows()`, `cols()` and `copies()`
// - `at(copy, row, col)`, and `(row, col)` for copy 0: for an op without a fast path
// - `set_part(copy, row, first, n, values)`, optional: sets a part of a row that begins at a
//   multiple of 32, also from several threads at once; such a tensor is loaded by several threads
//
// ```cpp body
// plait::panel_matrix<plait::dtype::f32> packed_weights;
// packed_weights.allocate({.name = "weight", .rows = 3, .cols = 2});
// float const second_row[] = {1, 2};
// packed_weights.set_row(0, 1, second_row);
// float const two = packed_weights(1, 1);
// if (two != 2) throw plait::error("get_row returns what set_row was given, whatever the layout");
// ```
//
// Shapes: plain [copies][rows][cols]; `set_row` and `get_row` take cols floats. For the CPU
//   (`packed`): matrices, embedding and experts are panels of their types, the router panels of
//   f32; vectors are channels [cols][rows]; state is the logarithm as channels, and A log2(e) with
//   A = -exp(A_log) in blocks [rows / block][cols][block] of `PLAIT_PACKET` channels, the last
//   padded with zeros, a NaN without its payload
// Errors: those of core/buffer.hpp
// Cost: `allocate` one or two allocations; `set_row` and `get_row` O(cols); a state tensor one exp
//   per value set
// Test: tests/unit/layers/weights_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// A row-major tensor of T.
template <class T>
class plain_tensor : public tensor_shape {
 public:
  void allocate(tensor const& t) {
    set_shape(t);
    data_ = buffer<T>(t.size());
  }
  T* row(std::int64_t copy, std::int64_t r) { return data_.data() + (copy * rows_ + r) * cols_; }
  T const* row(std::int64_t copy, std::int64_t r) const {
    return data_.data() + (copy * rows_ + r) * cols_;
  }
  T at(std::int64_t copy, std::int64_t r, std::int64_t c) const { return row(copy, r)[c]; }
  T operator()(std::int64_t r, std::int64_t c = 0) const { return row(0, r)[c]; }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    for (std::int64_t c = 0; c < cols_; ++c) row(copy, r)[c] = static_cast<T>(values[c]);
  }
  void get_row(std::int64_t copy, std::int64_t r, float* values) const {
    for (std::int64_t c = 0; c < cols_; ++c) values[c] = static_cast<float>(row(copy, r)[c]);
  }

 private:
  buffer<T> data_;
};

namespace storage {

namespace detail {
/// A class, because nvcc 13.0 resolves an alias template that ignores its argument to another type
/// the second time.
template <role, class T>
struct plain_of {
  using type = plain_tensor<T>;
};
}  // namespace detail

/// Row-major tensors of T: double for the reference, float for the layout of a checkpoint.
template <class T>
struct plain {
  template <role R>
  using tensor = typename detail::plain_of<R, T>::type;
  using table = plain_tensor<T>;  ///< an embedding: rows are looked up, not multiplied
};

}  // namespace storage
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
