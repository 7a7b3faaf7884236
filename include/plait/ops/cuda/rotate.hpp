// A block a token and sequence, a thread a pair of every head.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/cuda/vector.hpp>
#include <plait/ops/rotate.hpp>

namespace plait::inline PLAIT_ABI::kernels {

/// Block (t, s): token t of sequence s, as far as there is one; its threads take pairs of
/// dimensions.
/// Equation: exponent, power, quotient and angle are rounded to f32 one by one, as in
///   ops/rotate.hpp
/// Test: tests/ops/cuda/pointwise_test.cpp
template <class T>
struct rotate {
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
      // As ops::rotary_frequency: exponent, power, quotient and angle are rounded to f32 one by one.
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

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct rotate_op<exec::device<P, Runtime>> {
  template <class T, std::size_t N>
  static void run(exec::device<P, Runtime>& exec, sequences<T> const& seqs, std::int64_t dim, float theta,
                  std::array<matrix_view<T>, N> const& xs) {
    for (auto const& x : xs)
      exec.template launch<kernels::rotate<T>>({.x = seqs.longest, .y = seqs.count}, {seqs, x, x.cols(), dim, theta});
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
