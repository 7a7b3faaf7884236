// embed on the CPU: one row copied per token, from a packed table (a tied head) with the stride of
// a panel.
// Cost: threads share tokens
// Test: tests/unit/ops/rows/embed_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/cpu.hpp>
#include <plait/ops/rows/embed.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P>
struct embed_op<exec::cpu<P>> {
  template <class Table>
  static void run(exec::cpu<P>& exec, std::span<std::int32_t const> ids, Table const& table,
                  matrix_view<float> y) {
    exec.parallel(y.rows(), [&](std::int64_t t, int) {
      table.get_row(0, ids[static_cast<std::size_t>(t)], y.row(t));
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
