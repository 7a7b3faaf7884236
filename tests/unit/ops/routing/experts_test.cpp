#include <plait/ops/routing/experts_cpu.hpp>
#include <plait/ops/routing/route_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>
#include <support/expert_values.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

template <class Exec>
test::matrix<double> run(Exec& exec, test::expert_values const& b, test::matrix<float> const& x,
                         test::matrix<float> const& logits, std::int64_t k, bool in_place = false) {
  using T = typename Exec::value_type;
  using S = typename Exec::storage_type;
  plait::arena::frame const scratch(exec.workspace);
  test::matrix<T> in(x), out(x.rows(), x.cols());
  test::matrix<T> const scores(logits);
  auto const plan = plait::ops::make_routing(exec, x.rows(), b.n, k);
  plait::ops::route(exec, scores.view(), plan, plait::router_weights::as_they_are);
  test::matrix<T>& to = in_place ? in : out;
  plait::ops::experts(exec, in.view(), plan,
                      test::make_tensor<S, role::expert>(b.gate, b.f, b.d, b.n),
                      test::make_tensor<S, role::expert>(b.up, b.f, b.d, b.n),
                      test::make_tensor<S, role::expert>(b.down, b.d, b.f, b.n), to.view());
  CHECK(to.intact());
  return test::matrix<double>(to);
}

}  // namespace

// Two products of up to 129 terms of order 1 / sqrt(129), SiLU, and weights with errors of 2e-6 and
// a sum of at most 1: 5e-6.
TEST_CASE("experts: odd shapes, one to three experts per token, in place and not") {
  test::random random(27);
  for (std::int64_t tokens : {1, 3, 17, 40})
    for (auto const& widths : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {3, 17}, {17, 3}, {32, 48}, {35, 129}, {129, 33}})
      for (auto const& choices :
           std::vector<std::pair<std::int64_t, std::int64_t>>{{2, 1}, {3, 3}, {16, 2}, {5, 3}}) {
        std::int64_t const d = widths.first, f = widths.second, n = choices.first,
                           k = choices.second;
        CAPTURE(tokens);
        CAPTURE(d);
        CAPTURE(f);
        CAPTURE(n);
        CAPTURE(k);
        test::expert_values const b(random, d, f, n);
        test::matrix<float> const x = test::random_matrix(random, tokens, d, -2, 2),
                                  logits = test::random_matrix(random, tokens, n, -2, 2);
        auto oracle = test::oracle();
        auto const expected = run(oracle, b, x, logits, k);
        for (bool in_place : {false, true}) {
          auto cpu = test::cpu_with(in_place ? 3 : 1);
          CHECK(test::difference(run(cpu, b, x, logits, k, in_place), expected, 1) < 5e-6);
        }
      }
}

TEST_CASE("experts: the weights of experts without tokens are not read") {
  test::random random(28);
  test::expert_values b(random, 20, 33, 4);
  for (std::int64_t tokens : {1, 12, 50}) {
    test::matrix<float> const x = test::random_matrix(random, tokens, 20);
    test::matrix<float> logits = test::random_matrix(random, tokens, 4);
    for (std::int64_t t = 0; t < tokens; ++t) logits(t, 2) = 3;
    auto oracle = test::oracle();
    auto cpu = test::cpu_with(2);
    auto const expected = run(oracle, b, x, logits, 1), before = run(cpu, b, x, logits, 1);
    test::expert_values spoilt = b;
    for (std::int64_t e : {0, 1, 3}) spoilt.spoil(e);
    CHECK(test::same_bits(run(cpu, spoilt, x, logits, 1), before));
    CHECK(test::same_bits(run(oracle, spoilt, x, logits, 1), expected));
    CHECK(test::difference(before, expected, 1) < 5e-6);
  }
}

TEST_CASE("experts: a token's result does not depend on the other tokens of its experts") {
  test::random random(29);
  test::expert_values const b(random, 35, 19, 5);
  test::matrix<float> const x = test::random_matrix(random, 30, 35),
                            logits = test::random_matrix(random, 30, 5);
  auto cpu = test::cpu_with(1);
  auto const all = run(cpu, b, x, logits, 2);
  for (std::int64_t t = 0; t < 30; ++t) {
    auto const alone = run(cpu, b, test::rows_of(x, t, 1), test::rows_of(logits, t, 1), 2);
    CHECK(test::same_bits(alone.view().row(0), all.view().row(t), 35));
  }
}

TEST_CASE("experts: outputs are added in order of falling weight, by one chain of multiply-adds") {
  test::random random(32);
  std::int64_t const tokens = 12, d = 35, n = 5, k = 3;
  test::expert_values const b(random, d, 19, n);
  test::matrix<float> const x = test::random_matrix(random, tokens, d, -2, 2),
                            logits = test::random_matrix(random, tokens, n, -2, 2);
  auto cpu = test::cpu_with(1);
  // Each expert alone for all tokens: logits that give it the weight 1.
  std::vector<test::matrix<double>> alone;
  for (std::int64_t e = 0; e < n; ++e) {
    test::matrix<float> certain(tokens, n);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t other = 0; other < n; ++other)
        certain(t, other) = other == e ? 0.0f : -200.0f;
    alone.push_back(run(cpu, b, x, certain, 1));
  }
  auto const got = run(cpu, b, x, logits, k);
  auto const plan = plait::ops::make_routing(cpu, tokens, n, k);
  plait::ops::route(cpu, logits.view(), plan, plait::router_weights::as_they_are);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t c = 0; c < d; ++c) {
      float sum = 0;
      for (std::int64_t j = 0; j < k; ++j) {
        float const weight = plan.weight(t, j);
        auto const& outputs = alone[static_cast<std::size_t>(plan.expert(t, j))];
        float const output = static_cast<float>(outputs(t, c));
#if defined(__FMA__)
        sum = std::fma(weight, output, sum);
#else
        sum += weight * output;
#endif
      }
      REQUIRE(float(got(t, c)) == sum);
    }
}

TEST_CASE("experts: a NaN reaches its token alone") {
  test::random random(30);
  test::expert_values const b(random, 20, 17, 3);
  test::matrix<float> x = test::random_matrix(random, 9, 20);
  test::matrix<float> const logits = test::random_matrix(random, 9, 3);
  x(4, 11) = test::nan;
  auto cpu = test::cpu_with(1);
  auto const y = run(cpu, b, x, logits, 2);
  for (std::int64_t t = 0; t < 9; ++t)
    for (std::int64_t c = 0; c < 20; ++c) REQUIRE(std::isnan(y(t, c)) == (t == 4));
}

TEST_CASE("experts: no tokens") {
  test::random random(31);
  test::expert_values const b(random, 4, 4, 2);
  auto cpu = test::cpu_with(1);
  CHECK(run(cpu, b, test::matrix<float>(0, 4), test::matrix<float>(0, 2), 1).rows() == 0);
}
