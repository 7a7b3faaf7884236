// add_residual on the CPU: one addition per value; threads share rows.
// Test: tests/unit/ops/norm/add_residual_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/norm/add_residual.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// add_residual for every precision of the CPU.
struct add_residual_cpu {
  static void run(exec::host& exec, matrix_view<float> x, matrix_view<float const> y);
};

template <precision P>
struct add_residual_op<exec::cpu<P>> : add_residual_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

PLAIT_OP void add_residual_cpu::run(exec::host& exec, matrix_view<float> x,
                                    matrix_view<float const> y) {
  exec.parallel(x.rows(), exec.grain(x.rows()), [&](std::int64_t t, int) {
    float* const row = x.row(t);
    simd::for_each_packet(x.cols(), [&](std::int64_t i, std::int64_t n) {
      simd::store(row + i, simd::add(simd::load(row + i, n), simd::load(y.row(t) + i, n)), n);
    });
  });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
