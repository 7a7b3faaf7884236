// The kernel of rope.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (t, s): token t of sequence s, if it has one; threads take pairs of dimensions.
/// Equation: exponent, power, quotient and angle are each rounded to f32, as in
///   ops/attention/rope.hpp
/// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
template <class T>
struct rope {
  struct args {
    sequences<T> seqs;
    rows_of<T> x;
    std::int64_t cols, dim;
    float theta;
  };
  static constexpr int threads = 64;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const s = b.y(), t = b.x(), half = a.dim / 2;
    if (t >= a.seqs.tokens(s)) return;
    T* const row = a.x.row(a.seqs.first_row[s] + t);
    for (std::int64_t i = b.thread(); i < half; i += threads) {
      // As ops::rotary_frequency and ops::rotary_angle.
      double const exponent = static_cast<float>(2 * i) / static_cast<float>(a.dim);
      float const frequency = 1.0f / static_cast<float>(pow(double{a.theta}, exponent));
      double const angle = static_cast<float>(a.seqs.length[s] + t) * frequency;
      float const cosine = static_cast<float>(cos(angle)), sine = static_cast<float>(sin(angle));
      for (std::int64_t at = i; at < a.cols; at += a.dim) {
        float const p = widen(row[at]), q = widen(row[at + half]);
        row[at] = narrow<T>(p * cosine - q * sine);
        row[at + half] = narrow<T>(q * cosine + p * sine);
      }
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
