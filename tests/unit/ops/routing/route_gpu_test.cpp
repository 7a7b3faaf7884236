// route on a device against ops/routing/route.hpp: choices, places and tokens are equal.
#include <plait/ops/routing/route_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>

#include <doctest/doctest.h>

using plait::router_weights;

namespace {

struct plan {
  std::vector<std::int32_t> expert, place, token, first;
  std::vector<float> weight;
};

plan on_device(test::matrix<float> const& logits, std::int64_t k, router_weights weights,
               std::uint64_t seed) {
  auto exec = test::device_with<plait::int8>(seed, test::small_workspace);
  test::poison(exec);
  std::int64_t const choices = logits.rows() * k;
  test::device_matrix_of<float> const input(logits, 3);
  auto const p = plait::ops::make_routing(exec, logits.rows(), logits.cols(), k);
  plait::ops::route(exec, input.const_view(), p, weights);
  plan out;
  out.expert.resize(std::size_t(choices));
  out.place = out.token = out.expert;
  out.weight.resize(std::size_t(choices));
  out.first.resize(std::size_t(logits.cols()) + 1);
  test::device_memory::copy_out(p.expert.data(), choices, out.expert.data());
  test::device_memory::copy_out(p.place.data(), choices, out.place.data());
  test::device_memory::copy_out(p.weight.data(), choices, out.weight.data());
  test::device_memory::copy_out(p.token, choices, out.token.data());
  test::device_memory::copy_out(p.first, logits.cols() + 1, out.first.data());
  return out;
}

/// The plan of choose_top_k and group_by_expert, with weights computed in double.
plan expected(test::matrix<float> const& logits, std::int64_t k, router_weights weights) {
  std::int64_t const tokens = logits.rows(), n = logits.cols();
  plan out;
  out.expert.resize(std::size_t(tokens * k));
  out.place = out.token = out.expert;
  out.weight.resize(std::size_t(tokens * k));
  out.first.resize(std::size_t(n) + 1);
  plait::ops::routing<float> const p{{out.expert.data(), tokens, k},
                                     {out.weight.data(), tokens, k},
                                     {out.place.data(), tokens, k},
                                     out.token.data(),
                                     out.first.data(),
                                     n};
  for (std::int64_t t = 0; t < tokens; ++t) {
    float const* const row = logits.view().row(t);
    plait::ops::choose_top_k(row, n, k, p.expert.row(t));
    double most = row[0], total = 0, chosen = 0;
    for (std::int64_t e = 0; e < n; ++e) most = std::fmax(most, row[e]);
    for (std::int64_t e = 0; e < n; ++e) total += std::exp(double(row[e]) - most);
    for (std::int64_t j = 0; j < k; ++j) chosen += std::exp(double(row[p.expert(t, j)]) - most);
    for (std::int64_t j = 0; j < k; ++j)
      p.weight(t, j) = float(std::exp(double(row[p.expert(t, j)]) - most) /
                             (weights == router_weights::renormalised ? chosen : total));
  }
  plait::ops::group_by_expert(p);
  return out;
}

/// Relative error of a weight: two exponentials of at most 2 units in the last place each, a sum of
/// n terms and a division: 2e-6.
void check(test::matrix<float> const& logits, std::int64_t k, router_weights weights,
           std::uint64_t seed) {
  CAPTURE(logits.rows());
  CAPTURE(logits.cols());
  CAPTURE(k);
  plan const got = on_device(logits, k, weights, seed), oracle = expected(logits, k, weights);
  CHECK(got.expert == oracle.expert);
  CHECK(got.first == oracle.first);
  CHECK(got.place == oracle.place);
  CHECK(got.token == oracle.token);
  double worst = 0;
  for (std::size_t i = 0; i < got.weight.size(); ++i) {
    if (std::isnan(oracle.weight[i]))
      REQUIRE(std::isnan(got.weight[i]));
    else if (oracle.weight[i] < 1e-30f)
      REQUIRE(got.weight[i] < 2e-30f);
    else
      worst = std::max(worst, std::fabs(double(got.weight[i]) / double(oracle.weight[i]) - 1));
  }
  CHECK(worst < 2e-6);
}

}  // namespace

TEST_CASE("route on a device: any number of experts and choices, in one block or several") {
  test::random random(25);
  std::uint64_t seed = 0;
  for (std::int64_t tokens : {1, 3, 17, 129, 257})
    for (std::int64_t n : {2, 16, 17, 70})
      for (std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{5}, n}) {
        if (k > n || tokens * k > 4000) continue;
        ++seed;
        check(test::random_matrix(random, tokens, n, -4, 4), k,
              seed % 2 == 0 ? router_weights::renormalised : router_weights::as_they_are, seed);
      }
}

TEST_CASE(
    "route on a device: more experts than a block counts at once, more choices than its threads") {
  test::random random(26);
  check(test::random_matrix(random, 2, 600, -4, 4), 3, router_weights::as_they_are, 1);
  check(test::random_matrix(random, 3, 1100, -4, 4), 2, router_weights::renormalised, 2);
  check(test::random_matrix(random, 1500, 6, -4, 4), 3, router_weights::as_they_are, 3);
}

TEST_CASE(
    "route on a device: ties go to the lowest index, a NaN is the largest; infinities and logits "
    "of "
    "+-1e4") {
  for (auto const& logits :
       std::vector<std::vector<float>>{{1, 1, 1, 1},
                                       {0, 2, 1, 2, 2},
                                       {0, 1, 2, 1, 0},
                                       {0.0f, -0.0f, 0.0f},
                                       {-0.0f, 0.0f, -1},
                                       {-1, -1, -1, 0},
                                       {-1e4f, 1e4f, 0, 9.9e3f},
                                       {1, test::nan, 3},
                                       {test::nan, 1, -test::nan, 4},
                                       {3, -test::infinity, 1},
                                       {-test::infinity, -test::infinity, -test::infinity},
                                       {1, test::infinity, test::nan}})
    for (auto weights : {router_weights::as_they_are, router_weights::renormalised})
      check(test::row_matrix(logits), 3, weights, 5);
}

TEST_CASE("route on a device: all tokens to one expert; a NaN reaches its token alone") {
  test::random random(27);
  for (std::int64_t tokens : {40, 700}) {
    test::matrix<float> logits = test::random_matrix(random, tokens, 7);
    for (std::int64_t t = 0; t < tokens; ++t) logits(t, 5) = 9;
    check(logits, 1, router_weights::as_they_are, 6);
    logits(11, 2) = test::nan;
    check(logits, 2, router_weights::as_they_are, 7);
  }
}

TEST_CASE("route on a device: few tokens take one launch; without tokens no expert has any") {
  test::random random(28);
  auto exec = test::device_with<plait::int8>(1, test::small_workspace);
  test::device_matrix_of<float> const logits(test::random_matrix(random, 256, 16));
  auto const p = plait::ops::make_routing(exec, 256, 16, 2);
  plait::ops::route(exec, logits.const_view(), p, router_weights::as_they_are);
  CHECK(exec.runtime.launches.size() == 1);
  test::device_matrix_of<float> const none(0, 16);
  auto const q = plait::ops::make_routing(exec, 0, 16, 2);
  plait::ops::route(exec, none.const_view(), q, router_weights::as_they_are);
  std::vector<std::int32_t> first(17, -1);
  test::device_memory::copy_out(q.first, 17, first.data());
  CHECK(first == std::vector<std::int32_t>(17, 0));
}
