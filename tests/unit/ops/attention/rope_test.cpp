#include <plait/ops/attention/rope_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

namespace {

/// Rotated queries and keys of sequences with `before` cached and `now` new tokens each.
template <class Exec>
std::pair<test::matrix<double>, test::matrix<double>> run(
    Exec& exec, std::vector<std::int64_t> const& before, std::vector<std::int64_t> const& now,
    test::matrix<float> const& q, test::matrix<float> const& k, std::int64_t dim, float theta) {
  using T = typename Exec::value_type;
  test::ragged<T> batch(before, 0, 0);
  test::matrix<T> queries(q), keys(k);
  plait::ops::rope(exec, batch.with(now), dim, theta, std::array{queries.view(), keys.view()});
  CHECK(queries.intact());
  CHECK(keys.intact());
  return {test::matrix<double>(queries), test::matrix<double>(keys)};
}

}  // namespace

// Two products of values below 1 with a sine and a cosine, each rounded once: 4 roundings of 6e-8
// of a sum below 1.5.
TEST_CASE("rope: odd shapes, several sequences, large positions") {
  test::random random(41);
  for (std::int64_t dim : {2, 4, 6, 16, 34, 130})
    for (std::int64_t heads : {1, 3})
      for (std::int64_t start : {0, 1, 1000, 300000}) {
        CAPTURE(dim);
        CAPTURE(heads);
        CAPTURE(start);
        std::vector<std::int64_t> const before = {start, 0, 5}, now = {17, 3, 0};
        auto const q = test::random_matrix(random, 20, 2 * heads * dim),
                   k = test::random_matrix(random, 20, heads * dim);
        auto cpu = test::cpu_with(3);
        auto oracle = test::oracle();
        auto const got = run(cpu, before, now, q, k, dim, 10000.0f),
                   expected = run(oracle, before, now, q, k, dim, 10000.0f);
        CHECK(test::difference(got.first, expected.first) < 3e-7);
        CHECK(test::difference(got.second, expected.second) < 3e-7);
      }
}

TEST_CASE(
    "rope: value i of a head is paired with value i + dim / 2; position 0 changes nothing, "
    "position "
    "1 turns the first pair by one radian") {
  auto cpu = test::cpu_with(1);
  test::ragged<float> batch({0}, 0, 0);
  test::matrix<float> x(2, 4);
  for (std::int64_t t = 0; t < 2; ++t) {  // pairs (0, 2) and (1, 3)
    x(t, 0) = 1;
    x(t, 3) = 2;
  }
  plait::ops::rope(cpu, batch.with({2}), 4, 10000.0f, std::array{x.view()});
  CHECK(x(0, 0) == 1);
  CHECK(x(0, 1) == 0);
  CHECK(x(0, 2) == 0);
  CHECK(x(0, 3) == 2);
  CHECK(x(1, 0) == doctest::Approx(std::cos(1.0)));
  CHECK(x(1, 2) == doctest::Approx(std::sin(1.0)));
  CHECK(x(1, 1) == doctest::Approx(-2 * std::sin(0.01)));  // the second frequency is 10000^(-1/2)
  CHECK(x(1, 3) == doctest::Approx(2 * std::cos(0.01)));
}

TEST_CASE("rope: a token's bits depend on its position alone") {
  test::random random(42);
  auto const q = test::random_matrix(random, 40, 3 * 18), k = test::random_matrix(random, 40, 18);
  auto cpu = test::cpu_with(3), one = test::cpu_with(1);
  auto const whole = run(cpu, {7}, {40}, q, k, 18, 500.0f);
  for (std::int64_t t : {0, 1, 12, 39}) {
    auto const alone =
        run(one, {7 + t}, {1}, test::rows_of(q, t, 1), test::rows_of(k, t, 1), 18, 500.0f);
    CHECK(test::same_bits(alone.first.view().row(0), whole.first.view().row(t), 54));
    CHECK(test::same_bits(alone.second.view().row(0), whole.second.view().row(t), 18));
  }
}
