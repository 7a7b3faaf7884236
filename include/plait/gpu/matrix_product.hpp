// Arguments of a matrix product by the device's library.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// A matrix product that the device's library (cuBLASLt with CUDA) computes.
///
/// Equation: y = x w^T, with sums in f32
/// Shapes: x [rows, k], w [n, k], y [rows, n]; rows are `stride` values apart. X is float or
///   bf16_t; Y is X or float
/// Test: tests/unit/exec/device_test.cpp
template <class X, class Y>
struct matrix_product {
  X const* x;
  std::int64_t x_stride;
  X const* w;
  std::int64_t w_stride;
  Y* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t n;
  std::int64_t k;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
