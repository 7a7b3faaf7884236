// Storages: how tensors are kept. A storage maps each role to a tensor type; this one keeps them
// row-major.
//
// Every tensor type has allocate(tensor), set_row(copy, row, values), get_row(copy, row, values),
// rows(), cols() and copies(), so that loading, saving, initialization and comparison need to know
// no layout; and at(copy, row, col), (row, col) for copy 0, for an op that has no fast path to
// write. allocate gives zeros; copy, row and col are not checked. One whose rows may be set by
// several threads at once, in parts that begin at multiples of 32 columns, has set_part(copy, row,
// first, n, values), too, and is loaded by several threads.
//
// ```cpp body
// plait::panel_matrix<plait::dtype::f32> packed_weights;
// packed_weights.allocate({.name = "weight", .rows = 3, .cols = 2});
// float const second_row[] = {1, 2};
// packed_weights.set_row(0, 1, second_row);
// float const two = packed_weights(1, 1);
// if (two != 2) throw plait::error("a tensor gives back what it was given, whatever its layout");
// ```
//
// A tensor type of yours needs these members, and `rows()`, `cols()`, `copies()`. With `set_part`,
// as panel_matrix (panel_matrix.hpp) has it, it is loaded by several threads.
// Shapes: plain [copies][rows][cols]; channels [cols][rows]; state as channels, and beside the
//   logarithm A log2(e) with A = -exp(A_log), in blocks [rows / block][cols][block] of
//   `PLAIT_PACKET` channels, the last padded with zeros, a NaN without its payload. `set_row` and
//   `get_row` take cols floats. In `packed` matrices, embedding and experts are panels of their
//   types, the router panels of f32
// Errors: those of buffer.hpp; indices are not checked
// Cost: `allocate` one or two allocations; `set_row` and `get_row` O(cols); `state_tensor` an exp a
//   value set
// Test: tests/unit/layers/weights_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// [copies][rows][cols], row-major, in T.
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
/// nvcc 13.0 takes an alias template that ignores its argument for another type the second time it
/// meets it; a class it does not.
template <role, class T>
struct plain_of {
  using type = plain_tensor<T>;
};
}  // namespace detail

/// Row-major in T: double for the reference, float for anything that wants the checkpoint's own
/// layout.
template <class T>
struct plain {
  template <role R>
  using tensor = typename detail::plain_of<R, T>::type;
  using table = plain_tensor<T>;  ///< rows are looked up, not multiplied
};

}  // namespace storage
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
