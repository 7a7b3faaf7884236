// A product of matrices, as it is asked of a library.
// Test: tests/unit/exec/device_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// y[rows, n] = x[rows, k] W[n, k]^T, by a library: X and W both float or both bf16_t, Y the same
/// or float. Sums are f32.
template <class X, class Y>
struct matrix_product {
  X const* x;
  std::int64_t x_stride;
  X const* w;
  std::int64_t w_stride;
  Y* y;
  std::int64_t y_stride;
  std::int64_t rows, n, k;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
