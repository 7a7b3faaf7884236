// add_norm on the CPU, row by row: the sum is stored, its squares are added up, then the row is
// scaled.
// Equation: squares in 16 chains, added pairwise (cpu/simd.hpp); out = weight (x scale) with scale
//   = 1 / sqrt(squares / d + eps)
// Cost: two passes over a row, the second from the L1 cache; threads share rows
// Test: tests/unit/ops/norm/add_norm_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/norm/add_norm.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// add_norm for every precision of the CPU.
struct add_norm_cpu {
  static void run(exec::host& exec, matrix_view<float> x, matrix_view<float const> y,
                  channel_tensor const& weight, float eps, matrix_view<float> out);
};

template <precision P>
struct add_norm_op<exec::cpu<P>> : add_norm_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

PLAIT_OP void add_norm_cpu::run(exec::host& exec, matrix_view<float> x, matrix_view<float const> y,
                                channel_tensor const& weight, float eps, matrix_view<float> out) {
  using namespace simd;
  std::int64_t const n = x.cols();
  exec.parallel(x.rows(), exec.grain(x.rows()), [&](std::int64_t t, int) {
    float *const row = x.row(t), *const to = out.row(t);
    if (!y.empty())
      for_each_packet(n, [&](std::int64_t i, std::int64_t count) {
        store(row + i, add(load(row + i, count), load(y.row(t) + i, count)), count);
      });
    lane_sum squares;
    squares.add_products(row, row, n);
    packet const scale = set(1.0f / std::sqrt(squares.total() / static_cast<float>(n) + eps));
    float const* const w = weight.column(0);
    for_each_packet(n, [&](std::int64_t i, std::int64_t count) {
      store(to + i, mul(load(w + i, count), mul(load(row + i, count), scale)), count);
    });
  });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
