// How tensors are kept: plainly, or packed for the CPU. A storage maps each role to a tensor type.
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
// Test: tests/layers/weights_test.cpp
#pragma once

#include <plait/core/buffer.hpp>
#include <plait/core/panel_matrix.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

namespace plait::inline PLAIT_ABI {

/// [copies][rows][cols], row-major, in T.
template <class T>
class plain_tensor : public tensor_shape {
 public:
  void allocate(tensor const& t) { set_shape(t), data_ = buffer<T>(t.size()); }
  T* row(std::int64_t copy, std::int64_t r) { return data_.data() + (copy * rows_ + r) * cols_; }
  T const* row(std::int64_t copy, std::int64_t r) const { return data_.data() + (copy * rows_ + r) * cols_; }
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

/// Values by channel, [cols][rows]: channels lie side by side, as the vector units want them. For
/// one column that is the plain order.
class channel_tensor : public tensor_shape {
 public:
  void allocate(tensor const& t) { set_shape(t), data_ = buffer<float>(t.rows * t.cols); }
  float at(std::int64_t, std::int64_t r, std::int64_t c) const { return data_[c * rows_ + r]; }
  float operator()(std::int64_t r, std::int64_t c = 0) const { return at(0, r, c); }
  float const* column(std::int64_t c) const { return data_.data() + c * rows_; }
  void set_row(std::int64_t, std::int64_t r, float const* values) {
    for (std::int64_t c = 0; c < cols_; ++c) data_[c * rows_ + r] = values[c];
  }
  void get_row(std::int64_t, std::int64_t r, float* values) const {
    for (std::int64_t c = 0; c < cols_; ++c) values[c] = data_[c * rows_ + r];
  }

 private:
  buffer<float> data_;
};

/// A state matrix by channel, [cols][rows], and beside it what the recurrence multiplies by its
/// step, computed once: A log2(e) with A = -exp(A_log), so that exp(delta A) is 2^(delta times it).
/// That lies in blocks of a register of channels, [rows / block][cols][block], the last padded with
/// zeros: one stream for all states of a block, where columns a power of two apart would share a
/// few lines of a cache.
class state_tensor : public channel_tensor {
 public:
  static constexpr std::int64_t block = PLAIT_PACKET;

  void allocate(tensor const& t) {
    channel_tensor::allocate(t);
    log2_decay_ = buffer<float>((t.rows + block - 1) / block * block * t.cols);
  }
  /// A log2(e) of the channels from c on, a multiple of `block`: [cols][block]. A NaN has no
  /// payload (ops/cpu/simd.hpp, exp2).
  float const* log2_decay(std::int64_t c) const { return log2_decay_.data() + c * cols_; }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    channel_tensor::set_row(copy, r, values);
    float* const at = log2_decay_.data() + r / block * block * cols_ + r % block;
    for (std::int64_t c = 0; c < cols_; ++c) {
      double const decay = -std::exp(double{values[c]}) * 1.4426950408889634;
      at[c * block] = std::isnan(decay) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(decay);
    }
  }

 private:
  buffer<float> log2_decay_;
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

namespace detail {
template <role R, dtype Weights, dtype Experts>
struct packed_tensor {
  using type = panel_matrix<R == role::router ? dtype::f32 : R == role::expert ? Experts : Weights>;
};
template <dtype Weights, dtype Experts>
struct packed_tensor<role::vector, Weights, Experts> {
  using type = channel_tensor;
};
template <dtype Weights, dtype Experts>
struct packed_tensor<role::state, Weights, Experts> {
  using type = state_tensor;
};
}  // namespace detail

/// For the CPU kernels: linear maps in panels, the embedding too; channels side by side for the
/// rest, which is f32 as the router is.
template <dtype Weights = dtype::f32, dtype Experts = Weights>
struct packed {
  template <role R>
  using tensor = typename detail::packed_tensor<R, Weights, Experts>::type;
  using table = panel_matrix<Weights>;
};

}  // namespace storage
}  // namespace plait::inline PLAIT_ABI
