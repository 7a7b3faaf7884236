// A view of a row-major matrix: how activations are passed without copies.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/macros.hpp>
#include <plait/core/sentence.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN

/// A view of a row-major matrix; it owns nothing. It is made from a pointer and a shape, from a
/// span and a shape, or from an Eigen::Matrix, Map, Ref or Block that is row-major. A view of T
/// converts to one of T const.
///
/// ```cpp body
/// Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> activations(3, 64);
/// activations.setZero();
/// plait::matrix_view<float> const of_eigen(activations);
/// plait::matrix_view<float> const last_token = of_eigen.middle_rows(2, 1);
/// last_token(0, 63) = 1;
/// ```
///
/// Equation: element (r, c) is data[r stride + c]
/// Shapes: one row per token; `stride` in values, at least cols, which is the default
/// Errors:
///   - `a view of … x … on a span of … values`
///   - `plait: views are row-major (one row per token); use Eigen::RowMajor, this matrix is
///     column-major` and `plait: the values of a row must be contiguous (inner stride 1)`: at
///     compile time
/// Cost: a pointer and three integers; access is not checked
/// Test: tests/unit/layers/layer_test.cpp, tests/checks/compile_fail/misuse.cpp
template <class T>
class matrix_view {
 public:
  using value_type = std::remove_const_t<T>;

  constexpr matrix_view() = default;
  constexpr matrix_view(T* data, std::int64_t rows, std::int64_t cols, std::int64_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  constexpr matrix_view(T* data, std::int64_t rows, std::int64_t cols)
      : matrix_view(data, rows, cols, cols) {}
  constexpr matrix_view(std::span<T> values, std::int64_t rows, std::int64_t cols)
      : matrix_view(values.data(), rows, cols) {
    if (rows < 0 || cols < 0 || static_cast<std::int64_t>(values.size()) != rows * cols)
      throw error(sentence("a view of {} x {} on a span of {} values", rows, cols, values.size()));
  }
  template <class U>
  requires(std::same_as<U const, T> &&
           !std::same_as<U, T>) constexpr matrix_view(matrix_view<U> const& m)
      : matrix_view(m.data(), m.rows(), m.cols(), m.stride()) {}

  template <class Matrix>
  requires requires(Matrix&& m) {
    { m.data() } -> std::convertible_to<T*>;
    { m.outerStride() } -> std::convertible_to<std::int64_t>;
    { m.innerStride() } -> std::convertible_to<std::int64_t>;
  }
  constexpr matrix_view(Matrix&& m)
      : matrix_view(m.data(), m.rows(), m.cols(),
                    std::remove_cvref_t<Matrix>::IsRowMajor ? m.outerStride() : 1) {
    using matrix = std::remove_cvref_t<Matrix>;
    static_assert(matrix::IsRowMajor || matrix::ColsAtCompileTime == 1,
                  "plait: views are row-major (one row per token); use Eigen::RowMajor, this "
                  "matrix is column-major");
    static_assert(matrix::InnerStrideAtCompileTime == 1,
                  "plait: the values of a row must be contiguous (inner stride 1)");
  }

  constexpr T* data() const { return data_; }
  constexpr std::int64_t rows() const { return rows_; }
  constexpr std::int64_t cols() const { return cols_; }
  constexpr std::int64_t stride() const { return stride_; }
  constexpr bool empty() const { return rows_ == 0 || cols_ == 0; }
  constexpr T* row(std::int64_t r) const { return data_ + r * stride_; }
  constexpr T& operator()(std::int64_t r, std::int64_t c) const { return data_[r * stride_ + c]; }

  /// Rows [first, first + n).
  constexpr matrix_view middle_rows(std::int64_t first, std::int64_t n) const {
    return {data_ ? row(first) : nullptr, n, cols_, stride_};
  }
  /// Columns [first, first + n).
  constexpr matrix_view middle_cols(std::int64_t first, std::int64_t n) const {
    return {data_ ? data_ + first : nullptr, rows_, n, stride_};
  }

 private:
  T* data_ = nullptr;
  std::int64_t rows_ = 0, cols_ = 0, stride_ = 0;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
