// Vectors and small matrices on the CPU, channels side by side.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// Values of [rows] channels stored as [cols][rows], in f32: neighbouring channels lie in
/// neighbouring lanes. With one column this is the plain order.
/// Test: tests/unit/layers/weights_test.cpp
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

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
