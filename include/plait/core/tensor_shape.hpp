// The shape that all tensor types share.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/tensor.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// Base of the tensor types.
/// Shapes: [copies][rows][cols], zero until set
/// Cost: three integers
/// Test: tests/unit/layers/weights_test.cpp
class tensor_shape {
 public:
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t copies() const { return copies_; }

 protected:
  void set_shape(tensor const& t) {
    rows_ = t.rows;
    cols_ = t.cols;
    copies_ = t.copies;
  }
  std::int64_t rows_ = 0, cols_ = 0, copies_ = 0;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
