// Embedding lookup.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <span>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct embed_op {
  PLAIT_OP_MISSING(embed);
};

/// Equation: y[t] = table[ids[t]], without scaling
/// Shapes: ids [T], each in [0, V), which the model checks; table [V, d], plain or packed (a tied
///   head); y [T, d]
/// Cost: T d values read and written
/// Source: none, it is elementary
/// Test: tests/unit/ops/rows/embed_test.cpp
template <class Exec, class Table>
void embed(Exec& exec, std::span<std::int32_t const> ids, Table const& table,
           matrix_view<typename Exec::value_type> y) {
  embed_op<Exec>::run(exec, ids, table, y);
}

template <>
struct embed_op<exec::reference> {
  static void run(exec::reference& exec, std::span<std::int32_t const> ids,
                  plain_tensor<double> const& table, matrix_view<double> y) {
    exec.parallel(y.rows(), [&](std::int64_t t, int) {
      for (std::int64_t c = 0; c < y.cols(); ++c)
        y(t, c) = table(ids[static_cast<std::size_t>(t)], c);
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
