#include <plait/benchmark/routing.hpp>

#include <plait/policy.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

namespace {

using namespace plait;
using bench::routing;

std::vector<std::int64_t> histogram(std::vector<std::int32_t> const& choices, std::int64_t n) {
  std::vector<std::int64_t> count(static_cast<std::size_t>(n), 0);
  for (std::int32_t e : choices) ++count.at(static_cast<std::size_t>(e));
  return count;
}

}  // namespace

TEST_CASE(
    "shares add up to k, none is above 1, and zipf's fall as 1 / (e + 1) where they are below") {
  for (std::int64_t n : {2, 8, 16, 64})
    for (std::int64_t k : {1, 2, 3, 8})
      for (routing r : {routing::random, routing::balanced, routing::zipf, routing::one}) {
        if (k > n) continue;
        CAPTURE(n);
        CAPTURE(k);
        CAPTURE(int(r));
        auto const share = bench::expert_shares(r, n, k);
        CHECK(std::accumulate(share.begin(), share.end(), 0.0) == doctest::Approx(double(k)));
        CHECK(*std::max_element(share.begin(), share.end()) <= 1 + 1e-12);
        CHECK(*std::min_element(share.begin(), share.end()) >= 0);
        if (r != routing::zipf) continue;
        double constant = 0;
        for (std::int64_t e = 0; e < n; ++e)
          if (double const s = share[std::size_t(e)]; s < 1) {
            if (constant == 0) constant = s * double(e + 1);
            CHECK(s * double(e + 1) == doctest::Approx(constant));
          }
      }
  // By hand: 4 experts, one a token: 12 / 25 of 1, 1/2, 1/3, 1/4.
  auto const four = bench::expert_shares(routing::zipf, 4, 1);
  CHECK(four[0] == doctest::Approx(12.0 / 25));
  CHECK(four[3] == doctest::Approx(3.0 / 25));
  // Two a token: the first would have 24 / 25; three: 36 / 25, so it has 1 and the rest share 2 in
  // 6 : 4 : 3 of 13.
  CHECK(bench::expert_shares(routing::zipf, 4, 2)[0] == doctest::Approx(24.0 / 25));
  CHECK(bench::expert_shares(routing::zipf, 4, 3)[0] == 1);
  CHECK(bench::expert_shares(routing::zipf, 4, 3)[1] == doctest::Approx(12.0 / 13));
}

TEST_CASE("any number of first tokens is spread as promised, each over k different experts") {
  for (std::int64_t n : {4, 8, 16})
    for (std::int64_t k : {1, 2, 4})
      for (routing r : {routing::balanced, routing::zipf, routing::one})
        for (std::int64_t tokens : {1, 2, 7, 64, 1000}) {
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(int(r));
          CAPTURE(tokens);
          auto const assigned = bench::assigned_experts(r, n, k, tokens);
          REQUIRE(std::int64_t(assigned.size()) == tokens * k);
          for (std::int64_t t = 0; t < tokens; ++t)
            CHECK(std::int64_t(std::set<std::int32_t>(assigned.begin() + t * k,
                                                      assigned.begin() + (t + 1) * k)
                                   .size()) == k);
          auto const count = histogram(assigned, n);
          auto const share = bench::expert_shares(r, n, k);
          for (std::size_t e = 0; e < count.size(); ++e)
            CHECK(std::abs(double(count[e]) - share[e] * double(tokens)) <= 1.5);
          if (r == routing::balanced) {
            auto const [min, max] = std::minmax_element(count.begin(), count.end());
            CHECK(*max - *min <= 1);
          }
          if (r == routing::one)
            for (std::int64_t e = 0; e < n; ++e)
              CHECK(count[std::size_t(e)] == (e < k ? tokens : 0));
        }
}

TEST_CASE("experts reached") {
  moe const p{.d_ff = 4, .num_experts = 8, .top_k = 2};
  CHECK(bench::experts_reached(p, routing::balanced, 1) == 2);
  CHECK(bench::experts_reached(p, routing::balanced, 3) == 6);
  CHECK(bench::experts_reached(p, routing::balanced, 4) == 8);
  CHECK(bench::experts_reached(p, routing::one, 1000) == 2);
  CHECK(bench::experts_reached(p, routing::zipf, 1) == 2);
  CHECK(bench::experts_reached(p, routing::zipf, 1'000'000) == 8);
  CHECK(bench::experts_reached(p, routing::random, 3) ==
        doctest::Approx(8 * (1 - std::pow(0.75, 3))));
  CHECK(bench::experts_reached(mlp{.d_ff = 4}, routing::balanced, 3) == 0);
  for (std::int64_t tokens : {5, 40, 300}) {  // counted by hand
    auto const count = histogram(bench::assigned_experts(routing::zipf, 8, 2, tokens), 8);
    CHECK(bench::experts_reached(p, routing::zipf, tokens) ==
          double(std::count_if(count.begin(), count.end(), [](auto c) { return c > 0; })));
  }
}

TEST_CASE("the logits written choose the experts they were written for") {
  for (std::int64_t k : {1, 2, 8}) {
    std::vector<std::int32_t> const experts{5, 0, 7, 2, 9, 11, 3, 4};
    std::vector<float> logits(12, -7.0f);
    bench::write_logits(experts.data(), k, 12, 0.08f, logits.data());
    std::vector<std::int32_t> order(12);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return logits[std::size_t(a)] > logits[std::size_t(b)]; });
    for (std::int64_t j = 0; j < k; ++j) CHECK(order[std::size_t(j)] == experts[std::size_t(j)]);
    CHECK(logits[std::size_t(order[std::size_t(k - 1)])] > 0.5f * 0.08f);
    CHECK(logits[std::size_t(order[std::size_t(k)])] == 0);
  }
}
