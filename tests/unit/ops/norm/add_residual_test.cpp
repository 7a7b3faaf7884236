#include <plait/ops/norm/add_residual_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

// One rounding: exact in f32.
TEST_CASE("add_residual: odd shapes; values outside of the view do not change") {
  test::random random(40);
  for (std::int64_t rows : {0, 1, 3, 17})
    for (std::int64_t d : {1, 3, 16, 17, 33, 129}) {
      test::matrix<float> x = test::random_matrix(random, rows, d), before = x;
      test::matrix<float> const y = test::random_matrix(random, rows, d);
      test::matrix<double> x64(x);
      auto cpu = test::cpu_with(3);
      auto oracle = test::oracle();
      plait::ops::add_residual(cpu, x.view(), y.view());
      plait::ops::add_residual(oracle, x64.view(), test::matrix<double>(y).view());
      CHECK(x.intact());
      for (std::int64_t t = 0; t < rows; ++t)
        for (std::int64_t c = 0; c < d; ++c) {
          REQUIRE(x(t, c) == before(t, c) + y(t, c));
          REQUIRE(x64(t, c) == double{before(t, c)} + double{y(t, c)});
        }
    }
}
