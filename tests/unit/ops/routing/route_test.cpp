#include <plait/ops/routing/route_cpu.hpp>
#include <plait/ops/routing/route_with.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <algorithm>

namespace {

struct plan {
  std::vector<std::int32_t> expert, place, token, first;
  std::vector<double> weight;
};

template <class Exec>
plan run(Exec& exec, test::matrix<float> const& logits, std::int64_t k,
         plait::router_weights weights = plait::router_weights::as_they_are) {
  using T = typename Exec::value_type;
  plait::arena::frame const scratch(exec.workspace);
  test::matrix<T> const input(logits);
  auto const p = plait::ops::make_routing(exec, logits.rows(), logits.cols(), k);
  plait::ops::route(exec, input.view(), p, weights);
  plan out;
  for (std::int64_t t = 0; t < logits.rows(); ++t)
    for (std::int64_t j = 0; j < k; ++j) {
      out.expert.push_back(p.expert(t, j));
      out.place.push_back(p.place(t, j));
      out.weight.push_back(double(p.weight(t, j)));
    }
  out.token.assign(p.token, p.token + logits.rows() * k);
  out.first.assign(p.first, p.first + logits.cols() + 1);
  return out;
}

}  // namespace

// Choices are exact. Relative error of a weight: an exp of 1.3e-7, a sum of n terms and a division:
// 2e-6.
TEST_CASE("route: any number of experts and choices; the plan groups tokens by expert, in order") {
  test::random random(25);
  for (std::int64_t tokens : {1, 3, 17, 129})
    for (std::int64_t n : {2, 3, 16, 17, 129})
      for (std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, n}) {
        if (k > n) continue;
        CAPTURE(tokens);
        CAPTURE(n);
        CAPTURE(k);
        test::matrix<float> const logits = test::random_matrix(random, tokens, n, -4, 4);
        auto oracle = test::oracle();
        auto cpu = test::cpu_with(3);
        plan const expected = run(oracle, logits, k), got = run(cpu, logits, k);
        CHECK(got.expert == expected.expert);
        CHECK(got.place == expected.place);
        CHECK(got.token == expected.token);
        CHECK(got.first == expected.first);
        double worst = 0;
        for (std::size_t i = 0; i < got.weight.size(); ++i)
          worst = std::max(worst, std::fabs(got.weight[i] / expected.weight[i] - 1));
        CHECK(worst < 2e-6);

        CHECK(got.first.front() == 0);
        CHECK(got.first.back() == tokens * k);
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t j = 0; j < k; ++j) {
            std::size_t const i = static_cast<std::size_t>(t * k + j),
                              e = static_cast<std::size_t>(got.expert[i]);
            if (j > 0) REQUIRE(logits(t, got.expert[i - 1]) >= logits(t, got.expert[i]));
            REQUIRE(got.token[static_cast<std::size_t>(got.place[i])] == t);
            REQUIRE(got.place[i] >= got.first[e]);
            REQUIRE(got.place[i] < got.first[e + 1]);
          }
        for (std::size_t e = 0; e + 1 < got.first.size(); ++e)
          REQUIRE(std::is_sorted(got.token.begin() + got.first[e],
                                 got.token.begin() + got.first[e + 1]));
      }
}

TEST_CASE("route: weights are the softmax over all experts, not renormalised") {
  auto cpu = test::cpu_with(1);
  plan const p = run(
      cpu, test::row_matrix({std::log(1.0f), std::log(5.0f), std::log(3.0f), std::log(1.0f)}), 2);
  CHECK(p.expert == std::vector<std::int32_t>{1, 2});
  CHECK(p.weight[0] == doctest::Approx(0.5).epsilon(1e-6));
  CHECK(p.weight[1] == doctest::Approx(0.3).epsilon(1e-6));
}

TEST_CASE("route: renormalised weights are divided by their sum") {
  auto cpu = test::cpu_with(1);
  plan const p =
      run(cpu, test::row_matrix({std::log(1.0f), std::log(5.0f), std::log(3.0f), std::log(1.0f)}),
          2, plait::router_weights::renormalised);
  CHECK(p.expert == std::vector<std::int32_t>{1, 2});
  CHECK(p.weight[0] == doctest::Approx(0.625).epsilon(1e-6));
  CHECK(p.weight[1] == doctest::Approx(0.375).epsilon(1e-6));

  test::random random(29);
  for (std::int64_t n : {2, 3, 17})
    for (std::int64_t k : {std::int64_t{1}, std::int64_t{2}, n}) {
      test::matrix<float> const logits = test::random_matrix(random, 17, n, -4, 4);
      auto oracle = test::oracle();
      plan const expected = run(oracle, logits, k, plait::router_weights::renormalised);
      plan const got = run(cpu, logits, k, plait::router_weights::renormalised);
      CHECK(got.expert == expected.expert);
      for (std::size_t i = 0; i < got.weight.size(); ++i)
        REQUIRE(std::fabs(got.weight[i] / expected.weight[i] - 1) < 2e-6);
    }
}

TEST_CASE("make_routing: more choices than 2^31 - 1 are refused before memory is taken") {
  auto cpu = test::cpu_with(1);
  CHECK(
      test::message_of([&] { plait::ops::make_routing(cpu, plait::max_call_tokens, 600, 512); }) ==
      "4194304 tokens in one call with 512 experts each: more choices than 2^31 - 1, so use fewer "
      "tokens per call");
}

TEST_CASE("route_with: a custom rule gives the same plan") {
  test::random random(30);
  test::matrix<float> const logits = test::random_matrix(random, 40, 7, -4, 4);
  auto cpu = test::cpu_with(3);
  auto const p = plait::ops::make_routing(cpu, 40, 7, 2);
  // The two largest logits, weighted by their sigmoids.
  plait::ops::route_with(
      cpu, logits.view(), p,
      [](float const* scores, std::int64_t n, std::int64_t k, std::int32_t* expert, float* weight) {
        plait::ops::choose_top_k(scores, n, k, expert);
        for (std::int64_t j = 0; j < k; ++j) weight[j] = 1 / (1 + std::exp(-scores[expert[j]]));
      });
  auto other = test::cpu_with(1);
  plan const expected = run(other, logits, 2);
  for (std::int64_t i = 0; i < 80; ++i) {
    REQUIRE(p.expert(i / 2, i % 2) == expected.expert[static_cast<std::size_t>(i)]);
    REQUIRE(p.place(i / 2, i % 2) == expected.place[static_cast<std::size_t>(i)]);
    REQUIRE(p.token[i] == expected.token[static_cast<std::size_t>(i)]);
    REQUIRE(p.weight(i / 2, i % 2) ==
            doctest::Approx(1 / (1 + std::exp(-logits(i / 2, p.expert(i / 2, i % 2))))));
  }
}

TEST_CASE("route: ties go to the lowest index") {
  auto cpu = test::cpu_with(1);
  auto oracle = test::oracle();
  for (auto const& [logits, chosen] :
       std::vector<std::pair<std::vector<float>, std::vector<std::int32_t>>>{
           {{1, 1, 1, 1}, {0, 1, 2}},
           {{0, 2, 1, 2, 2}, {1, 3, 4}},
           {{0, 1, 2, 1, 0}, {2, 1, 3}},
           {{0.0f, -0.0f, 0.0f}, {0, 1, 2}},
           {{-1, -1, -1, 0}, {3, 0, 1}}}) {
    CHECK(run(cpu, test::row_matrix(logits), 3).expert == chosen);
    CHECK(run(oracle, test::row_matrix(logits), 3).expert == chosen);
  }
}

TEST_CASE(
    "route: logits of +-1e4; a NaN is chosen first, so that it shows, and reaches its row alone") {
  auto cpu = test::cpu_with(1);
  plan const p = run(cpu, test::row_matrix({-1e4f, 1e4f, 0, 9.9e3f}), 2);
  CHECK(p.expert == std::vector<std::int32_t>{1, 3});
  CHECK(p.weight[0] == 1);
  CHECK(p.weight[1] < 1e-30);

  test::random random(26);
  test::matrix<float> logits = test::random_matrix(random, 3, 5);
  for (std::int64_t at : {0, 3}) {
    test::matrix<float> bad = logits;
    bad(1, at) = test::nan;
    plan const got = run(cpu, bad, 2), good = run(cpu, logits, 2);
    CHECK(got.expert[2] == at);
    CHECK(std::isnan(got.weight[2]));
    for (std::size_t i : {0u, 1u, 4u, 5u}) {
      CHECK(got.expert[i] == good.expert[i]);
      CHECK(got.weight[i] == good.weight[i]);
    }
  }
}
