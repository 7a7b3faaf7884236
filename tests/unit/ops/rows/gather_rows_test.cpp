#include <plait/ops/rows/gather_rows.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

TEST_CASE("gather_rows: any rows in any order, or the first ones") {
  test::random random(2);
  for (std::int64_t d : {1, 3, 17, 64, 129}) {
    test::matrix<float> const x = test::random_matrix(random, 17, d);
    std::vector<std::int64_t> const rows = {16, 0, 3, 3, 9};
    auto cpu = test::cpu_with(3);
    auto oracle = test::oracle();
    test::matrix<float> y(5, d), head(7, d);
    test::matrix<double> expected(5, d);
    plait::ops::gather_rows(cpu, x.view(), rows.data(), y.view());
    plait::ops::gather_rows(cpu, x.view(), nullptr, head.view());
    plait::ops::gather_rows(oracle, test::matrix<double>(x).view(), rows.data(), expected.view());
    for (std::int64_t i = 0; i < 5; ++i)
      CHECK(test::same_bits(y.view().row(i), x.view().row(rows[static_cast<std::size_t>(i)]), d));
    for (std::int64_t i = 0; i < 7; ++i)
      CHECK(test::same_bits(head.view().row(i), x.view().row(i), d));
    CHECK(test::difference(y, expected) == 0);
    CHECK(y.intact());
    CHECK(head.intact());
  }
}

TEST_CASE("gather_rows: no rows") {
  auto cpu = test::cpu_with(1);
  test::matrix<float> const x(3, 4);
  test::matrix<float> y(0, 4);
  plait::ops::gather_rows(cpu, x.view(), nullptr, y.view());
  CHECK(y.intact());
}
