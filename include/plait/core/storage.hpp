// How tensors are kept: plainly, or packed for the CPU. A storage maps each role to a tensor type.
//
// Every tensor type has allocate(tensor), set_row(copy, row, values), get_row(copy, row, values), rows(), cols() and copies(), so that
// loading, saving, initialization and comparison need to know no layout; and at(copy, row, col), (row, col) for copy 0, for an op that has
// no fast path to write. allocate gives zeros; copy, row and col are not checked.
#pragma once

#include <plait/core/buffer.hpp>
#include <plait/core/panel_matrix.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <cmath>
#include <cstdint>

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

/// Values by channel, [cols][rows]: channels lie side by side, as the vector units want them. For one column that is the plain order.
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

/// A state matrix by channel, [cols][rows], as A = -exp(A_log), computed once; the logarithm is kept to be saved again exactly.
class state_tensor : public channel_tensor {
 public:
  void allocate(tensor const& t) { channel_tensor::allocate(t), negative_exp_ = buffer<float>(t.rows * t.cols); }
  float const* negative_exp(std::int64_t c) const { return negative_exp_.data() + c * rows_; }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    channel_tensor::set_row(copy, r, values);
    for (std::int64_t c = 0; c < cols_; ++c) negative_exp_[c * rows_ + r] = static_cast<float>(-std::exp(double{values[c]}));
  }

 private:
  buffer<float> negative_exp_;
};

namespace storage {

/// Row-major in T: double for the reference, float for anything that wants the checkpoint's own layout.
template <class T>
struct plain {
  template <role>
  using tensor = plain_tensor<T>;
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

/// For the CPU kernels: linear maps in panels, the embedding too; channels side by side for the rest, which is f32 as the router is.
template <dtype Weights = dtype::f32, dtype Experts = Weights>
struct packed {
  template <role R>
  using tensor = typename detail::packed_tensor<R, Weights, Experts>::type;
  using table = panel_matrix<Weights>;
};

}  // namespace storage
}  // namespace plait::inline PLAIT_ABI
