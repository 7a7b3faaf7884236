// The CPU's storage: linear maps in panels, vectors and state matrices by channel.
// Test: tests/unit/layers/weights_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/macros.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN

/// Values by channel, [cols][rows]: channels lie side by side, as the vector units want them. For
/// one column that is the plain order.
class channel_tensor : public tensor_shape {
 public:
  void allocate(tensor const& t) {
    set_shape(t);
    data_ = buffer<float>(t.rows * t.cols);
  }
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
  /// payload (cpu/simd.hpp, exp2).
  float const* log2_decay(std::int64_t c) const { return log2_decay_.data() + c * cols_; }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    channel_tensor::set_row(copy, r, values);
    float* const at = log2_decay_.data() + r / block * block * cols_ + r % block;
    for (std::int64_t c = 0; c < cols_; ++c) {
      double const decay = -std::exp(double{values[c]}) * 1.4426950408889634;
      at[c * block] =
          std::isnan(decay) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(decay);
    }
  }

 private:
  buffer<float> log2_decay_;
};

namespace storage {

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
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
