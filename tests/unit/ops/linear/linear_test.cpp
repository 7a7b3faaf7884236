#include <plait/ops/linear/linear_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

struct result {
  test::matrix<double> y;
  bool intact;
};

/// One or three outputs of one input, one of them with or without a bias.
template <class Exec>
std::vector<result> run(Exec& exec, test::matrix<float> const& x,
                        std::vector<std::vector<float>> const& weights,
                        std::vector<float> const& bias) {
  using T = typename Exec::value_type;
  using S = typename Exec::storage_type;
  std::int64_t const k = x.cols();
  test::matrix<T> const input(x);
  std::vector<typename S::template tensor<role::matrix>> w;
  std::vector<test::matrix<T>> y;
  for (auto const& values : weights) {
    std::int64_t const n = static_cast<std::int64_t>(values.size()) / k;
    w.push_back(test::make_tensor<S, role::matrix>(values, n, k));
    y.emplace_back(x.rows(), n);
  }
  auto const b = test::make_tensor<S, role::vector>(bias, static_cast<std::int64_t>(bias.size()));
  if (w.size() == 3) {
    plait::ops::linear(
        exec, input.view(),
        std::array{plait::ops::into(y[0].view(), w[0]), plait::ops::into(y[1].view(), w[1]),
                   plait::ops::into(y[2].view(), w[2])});
  } else {
    plait::ops::linear(exec, input.view(),
                       plait::ops::into(y[0].view(), w[0], bias.empty() ? nullptr : &b));
  }
  std::vector<result> out;
  for (auto const& m : y) out.push_back({test::matrix<double>(m), m.intact()});
  return out;
}

std::vector<float> magnitudes(std::vector<float> v) {
  for (float& x : v) x = std::fabs(x);
  return v;
}
test::matrix<float> magnitudes(test::matrix<float> m) {
  for (std::int64_t r = 0; r < m.rows(); ++r)
    for (std::int64_t c = 0; c < m.cols(); ++c) m(r, c) = std::fabs(m(r, c));
  return m;
}

/// The error of a chain of K multiply-adds is at most (K + 1) roundings of the sum of magnitudes,
/// which the reference computes as well.
void check(test::matrix<float> const& x, std::vector<std::vector<float>> const& weights,
           std::vector<float> const& bias, int threads) {
  auto cpu = test::cpu_with(threads);
  auto oracle = test::oracle();
  std::vector<std::vector<float>> absolute;
  for (auto const& w : weights) absolute.push_back(magnitudes(w));
  auto const got = run(cpu, x, weights, bias), expected = run(oracle, x, weights, bias),
             sums = run(oracle, magnitudes(x), absolute, magnitudes(bias));
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i].intact);
    double worst = 0;
    for (std::int64_t t = 0; t < x.rows(); ++t)
      for (std::int64_t n = 0; n < got[i].y.cols(); ++n)
        worst = std::max(worst, std::fabs(got[i].y(t, n) - expected[i].y(t, n)) /
                                    (double(x.cols() + 1) * 0x1p-24 * sums[i].y(t, n)));
    CHECK(worst <= 1);
  }
}

}  // namespace

TEST_CASE("linear: odd shapes, with and without bias") {
  test::random random(6);
  for (std::int64_t tokens : {1, 2, 3, 5, 6, 7, 11, 12, 13, 17, 25, 129})
    for (std::int64_t k : {1, 3, 17, 64, 129})
      for (std::int64_t n : {1, 3, 16, 17, 32, 33, 129}) {
        CAPTURE(tokens);
        CAPTURE(k);
        CAPTURE(n);
        test::matrix<float> const x = test::random_matrix(random, tokens, k);
        std::vector<float> const w = random.values(n * k);
        check(x, {w}, {}, 1);
        check(x, {w}, random.values(n, -3, 3), 2);
      }
}

TEST_CASE("linear: several outputs of one input") {
  test::random random(7);
  for (std::int64_t tokens : {1, 3, 13, 40})
    for (std::int64_t k : {1, 17, 64}) {
      CAPTURE(tokens);
      CAPTURE(k);
      test::matrix<float> const x = test::random_matrix(random, tokens, k);
      for (int threads : {1, 3})
        check(x, {random.values(33 * k), random.values(k), random.values(64 * k)}, {}, threads);
    }
}

TEST_CASE("linear: an output is one chain of multiply-adds over ascending k, from the bias on") {
  test::random random(8);
  std::int64_t const k = 129;
  test::matrix<float> const x = test::random_matrix(random, 5, k);
  std::vector<float> const w = random.values(3 * k), bias = random.values(3);
  auto cpu = test::cpu_with(1);
  auto const got = run(cpu, x, {w}, bias);
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t n = 0; n < 3; ++n) {
      float sum = bias[static_cast<std::size_t>(n)];
      for (std::int64_t i = 0; i < k; ++i) {
        float const a = x(t, i), b = w[static_cast<std::size_t>(n * k + i)];
#if defined(__FMA__)
        sum = std::fma(a, b, sum);
#else
        sum += a * b;
#endif
      }
      CHECK(got[0].y(t, n) == double{sum});
    }
}

TEST_CASE("linear: a NaN reaches the row of x or of the weights alone") {
  test::random random(9);
  test::matrix<float> x = test::random_matrix(random, 14, 20);
  std::vector<float> w = random.values(40 * 20);
  x(3, 7) = test::nan;
  w[33 * 20 + 19] = test::nan;
  auto cpu = test::cpu_with(2);
  auto const got = run(cpu, x, {w}, {});
  for (std::int64_t t = 0; t < 14; ++t)
    for (std::int64_t n = 0; n < 40; ++n)
      REQUIRE(std::isnan(got[0].y(t, n)) == (t == 3 || n == 33));
}

TEST_CASE("linear: no rows") {
  test::random random(10);
  check(test::matrix<float>(0, 5), {random.values(15)}, {}, 1);
}
