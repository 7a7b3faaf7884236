// Selected rows of a matrix.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <algorithm>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct gather_rows_op {
  PLAIT_OP_MISSING(gather_rows);
};

/// Equation: y[i] = x[rows[i]], or x[i] where rows is null
/// Shapes: x [T, d], rows [R] or null, y [R, d], which must not overlap x
/// Errors: none; rows are not checked
/// Cost: R d values read and written
/// Source: none, it is elementary
/// Test: tests/unit/ops/rows/gather_rows_test.cpp
template <class Exec>
void gather_rows(Exec& exec, matrix_view<typename Exec::value_type const> x,
                 std::int64_t const* rows, matrix_view<typename Exec::value_type> y) {
  gather_rows_op<Exec>::run(exec, x, rows, y);
}

// One implementation for every execution policy of the host.
template <class Exec>
requires std::derived_from<Exec, exec::host>
struct gather_rows_op<Exec> {
  using T = typename Exec::value_type;
  static void run(Exec& exec, matrix_view<T const> x, std::int64_t const* rows, matrix_view<T> y) {
    exec.parallel(y.rows(), [&](std::int64_t i, int) {
      std::copy_n(x.row(rows != nullptr ? rows[i] : i), y.cols(), y.row(i));
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
