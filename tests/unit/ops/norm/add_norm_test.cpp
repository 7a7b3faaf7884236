#include <plait/ops/norm/add_norm_cpu.hpp>
#include <plait/ops/norm/inner_norms.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

// A chain of a sum of squares has at most 129 / 16 + 4 roundings, halved by the root; scaling adds
// five: below 1e-6.
constexpr double tolerance = 1e-6;

template <class Storage>
auto vector_of(std::vector<float> const& values) {
  return test::make_tensor<Storage, role::vector>(values, static_cast<std::int64_t>(values.size()));
}

}  // namespace

TEST_CASE("add_norm: residual and norm, with and without a residual, in place and not") {
  test::random random(3);
  for (std::int64_t rows : {1, 3, 17})
    for (std::int64_t d : {1, 3, 16, 17, 32, 48, 129})
      for (bool add : {false, true})
        for (bool in_place : {false, true}) {
          CAPTURE(rows);
          CAPTURE(d);
          CAPTURE(add);
          CAPTURE(in_place);
          test::matrix<float> x = test::random_matrix(random, rows, d),
                              y = test::random_matrix(random, rows, d), out(rows, d);
          test::matrix<double> x64(x), y64(y), out64(rows, d);
          std::vector<float> const w = random.values(d, 0.5f, 1.5f);
          auto cpu = test::cpu_with(2);
          auto oracle = test::oracle();
          plait::ops::add_norm(cpu, x.view(), add ? y.view() : plait::matrix_view<float>(),
                               vector_of<plait::storage::packed<>>(w), 1e-6f,
                               in_place ? x.view() : out.view());
          plait::ops::add_norm(oracle, x64.view(), add ? y64.view() : plait::matrix_view<double>(),
                               vector_of<plait::storage::plain<double>>(w), 1e-6f,
                               in_place ? x64.view() : out64.view());
          CHECK(test::difference(x, x64) < tolerance);
          CHECK(test::difference(out, out64) < tolerance);
          CHECK(x.intact());
          CHECK(out.intact());
        }
}

TEST_CASE("add_norm: eps is added inside the root, the weight is a factor") {
  auto cpu = test::cpu_with(1);
  test::matrix<float> x = test::row_matrix({1, 1, 1, 1}), out(1, 4);
  plait::ops::add_norm(cpu, x.view(), {}, vector_of<plait::storage::packed<>>({2, 0, -1, 4}), 3.0f,
                       out.view());
  CHECK(out(0, 0) == 1);  // 2 * 1 / sqrt(1 + 3)
  CHECK(out(0, 1) == 0);
  CHECK(out(0, 2) == -0.5f);
  CHECK(out(0, 3) == 2);
}

TEST_CASE("add_norm: NaN and infinity reach their row alone") {
  test::random random(4);
  for (float bad : {test::nan, test::infinity})
    for (std::int64_t at : {0, 15, 16, 36}) {
      test::matrix<float> x = test::random_matrix(random, 3, 37), out(3, 37);
      x(1, at) = bad;
      auto cpu = test::cpu_with(1);
      plait::ops::add_norm(cpu, x.view(), {},
                           vector_of<plait::storage::packed<>>(std::vector<float>(37, 1.0f)), 1e-6f,
                           out.view());
      CHECK(out(1, at) != out(1, at));
      for (std::int64_t c = 0; c < 37; ++c) {
        if (bad != bad) CHECK(out(1, c) != out(1, c));
        REQUIRE(std::isfinite(out(0, c)));
        REQUIRE(std::isfinite(out(2, c)));
      }
    }
}

TEST_CASE("inner_norms: consecutive parts of a row, each with its own weight") {
  test::random random(5);
  for (auto const& widths : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {2, 16}, {5, 8}, {17, 33}, {256, 16}}) {
    std::int64_t const r = widths.first, n = widths.second;
    CAPTURE(r);
    CAPTURE(n);
    test::matrix<float> x = test::random_matrix(random, 5, r + 2 * n);
    test::matrix<double> x64(x);
    std::vector<float> const dt = random.values(r, 0.5f, 2), b = random.values(n, 0.5f, 2),
                             c = random.values(n, 0.5f, 2);
    auto const run = [&]<class Storage>(auto& exec, auto& m, Storage) {
      auto const w0 = vector_of<Storage>(dt), w1 = vector_of<Storage>(b),
                 w2 = vector_of<Storage>(c);
      plait::ops::inner_norms(exec, m.view(), std::array{&w0, &w1, &w2}, 1e-6f);
    };
    auto cpu = test::cpu_with(2);
    auto oracle = test::oracle();
    run(cpu, x, plait::storage::packed<>{});
    run(oracle, x64, plait::storage::plain<double>{});
    CHECK(test::difference(x, x64) < tolerance);
    CHECK(x.intact());
    // Each part has mean square 1 before its weight; one norm over the row gives another value.
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i)
      squares += std::pow(x64(0, r + i) / double{b[static_cast<std::size_t>(i)]}, 2);
    CHECK(squares / double(n) == doctest::Approx(1).epsilon(1e-3));
  }
}
