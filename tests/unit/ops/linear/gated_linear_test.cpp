#include <plait/ops/linear/gated_linear_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

template <class Exec>
test::matrix<double> run(Exec& exec, test::matrix<float> const& x, std::vector<float> const& gate,
                         std::vector<float> const& up) {
  using T = typename Exec::value_type;
  using S = typename Exec::storage_type;
  std::int64_t const k = x.cols(), f = static_cast<std::int64_t>(gate.size()) / k;
  test::matrix<T> y(x.rows(), f);
  test::matrix<T> const input(x);
  plait::ops::gated_linear(exec, input.view(), test::make_tensor<S, role::matrix>(gate, f, k),
                           test::make_tensor<S, role::matrix>(up, f, k), y.view());
  CHECK(y.intact());
  return test::matrix<double>(y);
}

}  // namespace

// Weights are scaled so that sums are of order 1. Two chains of up to 129 multiply-adds, with
// roundings of 6e-8 of terms whose sum is a few units, then SiLU with 3e-7 and a product: 4e-6 of
// the largest result, or of 1.
TEST_CASE("gated_linear: odd shapes") {
  test::random random(11);
  for (std::int64_t tokens : {1, 3, 6, 12, 13, 17})
    for (std::int64_t k : {1, 3, 17, 64, 129})
      for (std::int64_t f : {1, 3, 16, 17, 32, 80, 129}) {
        CAPTURE(tokens);
        CAPTURE(k);
        CAPTURE(f);
        float const scale = 2 / std::sqrt(static_cast<float>(k));
        test::matrix<float> const x = test::random_matrix(random, tokens, k, -2, 2);
        std::vector<float> const gate = random.values(f * k, -scale, scale),
                                 up = random.values(f * k, -scale, scale);
        auto oracle = test::oracle();
        auto const expected = run(oracle, x, gate, up);
        for (int threads : {1, 3}) {
          auto cpu = test::cpu_with(threads);
          CHECK(test::difference(run(cpu, x, gate, up), expected, 1) < 4e-6);
        }
      }
}

TEST_CASE("gated_linear: gates of +-1e4 are open or closed; a NaN reaches its row alone") {
  auto cpu = test::cpu_with(1);
  test::matrix<float> x(5, 2);
  float const gates[] = {1e4f, -1e4f, 0.0f, test::nan, -0.0f};
  for (std::int64_t t = 0; t < 5; ++t) {
    x(t, 0) = gates[t];
    x(t, 1) = 3;
  }
  auto const y = run(cpu, x, {1, 0, 1, 0}, {0, 1, 0, -1});
  for (std::int64_t n = 0; n < 2; ++n) {
    double const sign = n == 0 ? 1 : -1;
    CHECK(y(0, n) == sign * 3e4);
    CHECK(std::fabs(y(1, n)) < 1e-30);
    CHECK(y(2, n) == 0);
    CHECK(std::isnan(y(3, n)));
    CHECK(y(4, n) == 0);
  }
}
