// Rotary position embedding (RoPE) of queries and keys, in place.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <array>
#include <cmath>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// f_i = theta^(-2i/dim), the frequency of pair i of a head. Exponent, power and quotient are
/// rounded to f32, as is the angle, position times f_i: the published models were trained and are
/// run so. At position 1000 the angle is 6e-5 away from the exact one.
inline float rotary_frequency(float theta, std::int64_t dim, std::int64_t i) {
  double const exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
  return 1.0f / static_cast<float>(std::pow(double{theta}, exponent));
}
inline float rotary_angle(float frequency, std::int64_t position) {
  return static_cast<float>(position) * frequency;
}

template <class Exec>
struct rope_op {
  PLAIT_OP_MISSING(rope);
};

/// Equation: with f_i = theta^(-2 i / dim) and the angle p f_i of the token at absolute position p,
///   for each pair i < dim / 2 of each head: x_i <- x_i cos - x_(i + dim/2) sin, x_(i + dim/2) <-
///   x_(i + dim/2) cos + x_i sin. The halves of a head are paired, as in Hugging Face's Llama and
///   Mixtral; the paper pairs neighbours. Frequency and angle are rounded to f32
/// Shapes: each of xs [T, heads dim], any number of heads, dim even; theta > 0
/// Cost: a sine and a cosine per pair and token, six operations per pair, head and token
/// Source: Su et al., arXiv:2104.09864
/// Test: tests/unit/ops/attention/rope_test.cpp
template <class Exec, std::size_t N>
void rope(Exec& exec, sequences<typename Exec::value_type> const& seqs, std::int64_t dim,
          float theta, std::array<matrix_view<typename Exec::value_type>, N> const& xs) {
  rope_op<Exec>::run(exec, seqs, dim, theta, xs);
}

template <>
struct rope_op<exec::reference> {
  template <std::size_t N>
  static void run(exec::reference& exec, sequences<double> const& seqs, std::int64_t dim,
                  float theta, std::array<matrix_view<double>, N> const& xs) {
    std::int64_t const half = dim / 2;
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      for (std::int64_t t = 0; t < seqs.tokens(s); ++t)
        for (std::int64_t i = 0; i < half; ++i) {
          double const angle = rotary_angle(rotary_frequency(theta, dim, i), seqs.length[s] + t);
          double const cosine = std::cos(angle), sine = std::sin(angle);
          for (matrix_view<double> const& x : xs)
            for (std::int64_t head = 0; head < x.cols() / dim; ++head) {
              double& a = x(seqs.first_row[s] + t, head * dim + i);
              double& b = x(seqs.first_row[s] + t, head * dim + half + i);
              double const first = a;
              a = first * cosine - b * sine;
              b = b * cosine + first * sine;
            }
        }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
