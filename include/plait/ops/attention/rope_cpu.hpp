// rope on the CPU: the frequencies once per call, sines and cosines once per token, then its heads.
// Equation: sine and cosine of the f32 angle are computed in double and rounded once; then one
//   product and a fused multiply-add
// Shapes: workspace: dim / 2 floats, and per thread dim floats, each half rounded up to 16
// Cost: threads share the tokens of a sequence; sequences are processed one after the other
// Test: tests/unit/ops/attention/rope_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/attention/rope.hpp>

#include <span>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// rope for every precision of the CPU.
struct rope_cpu {
  static void run(exec::host& exec, sequences<float> const& seqs, std::int64_t dim, float theta,
                  std::span<matrix_view<float> const> xs);

 private:
  static void rotate_head(float* x, std::int64_t half, float const* cosine, float const* sine);
};

template <precision P>
struct rope_op<exec::cpu<P>> : rope_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

PLAIT_OP void rope_cpu::run(exec::host& exec, sequences<float> const& seqs, std::int64_t dim,
                            float theta, std::span<matrix_view<float> const> xs) {
  arena::frame const scratch(exec.workspace);
  std::int64_t const half = dim / 2, stride = (half + 15) / 16 * 16;
  float* const frequency = exec.workspace.template take<float>(half);
  float* const tables = exec.workspace.template take<float>(exec.threads() * 2 * stride);
  exec.parallel(1, [&](std::int64_t, int) {
    for (std::int64_t i = 0; i < half; ++i) frequency[i] = rotary_frequency(theta, dim, i);
  });
  for (std::int64_t s = 0; s < seqs.count; ++s)
    exec.parallel(seqs.tokens(s), exec.grain(seqs.tokens(s)), [&](std::int64_t t, int thread) {
      float *const cosine = tables + thread * 2 * stride, *const sine = cosine + stride;
      for (std::int64_t i = 0; i < half; ++i) {
        // In double: one rounding, and none of f32's loss of accuracy for large arguments.
        double const angle = rotary_angle(frequency[i], seqs.length[s] + t);
        cosine[i] = static_cast<float>(std::cos(angle));
        sine[i] = static_cast<float>(std::sin(angle));
      }
      for (matrix_view<float> const& x : xs)
        for (std::int64_t head = 0; head < x.cols() / dim; ++head)
          rotate_head(x.row(seqs.first_row[s] + t) + head * dim, half, cosine, sine);
    });
}

PLAIT_OP void rope_cpu::rotate_head(float* x, std::int64_t half, float const* cosine,
                                    float const* sine) {
  using namespace simd;
  for_each_packet(half, [&](std::int64_t i, std::int64_t n) {
    packet const a = load(x + i, n);
    packet const b = load(x + half + i, n);
    packet const c = load(cosine + i, n);
    packet const s = load(sine + i, n);
    store(x + i, fma(a, c, mul(b, sub(set(0.0f), s))), n);
    store(x + half + i, fma(b, c, mul(a, s)), n);
  });
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
