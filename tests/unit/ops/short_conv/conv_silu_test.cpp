#include <plait/ops/short_conv/conv_silu_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

struct conv_case {
  std::int64_t channels, d_conv;
  bool bias;
  std::vector<float> taps, bias_values;
  conv_case(test::random& r, std::int64_t c, std::int64_t w, bool b)
      : channels(c), d_conv(w), bias(b), taps(r.values(c * w)), bias_values(r.values(c)) {}
};

/// Successive calls on one batch: all outputs and the last states.
template <class Exec>
struct conv_run {
  using T = typename Exec::value_type;
  std::vector<test::matrix<T>> y;
  test::ragged<T> batch;

  conv_run(Exec& exec, conv_case const& c, test::lengths_of_calls const& lengths,
           std::vector<test::matrix<float>> const& u)
      : batch(std::vector<std::int64_t>(lengths[0].size(), 0), c.channels * (c.d_conv - 1), 0) {
    using S = typename Exec::storage_type;
    auto const taps = test::make_tensor<S, role::vector>(c.taps, c.channels, c.d_conv);
    auto const bias = test::make_tensor<S, role::vector>(c.bias_values, c.channels);
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      plait::sequences<T> const seqs = batch.with(lengths[call]);
      test::matrix<T> const input(u[call]);
      y.emplace_back(batch.total(), c.channels);
      plait::ops::conv_silu(exec, seqs, input.view(), taps, c.bias ? &bias : nullptr,
                            y.back().view());
      CHECK(y.back().intact());
      CHECK(batch.intact());
      batch.advance();
    }
  }
};

std::vector<test::matrix<float>> inputs(test::random& random, test::lengths_of_calls const& lengths,
                                        std::int64_t channels) {
  std::vector<test::matrix<float>> u;
  for (auto const& call : lengths)
    u.push_back(test::random_matrix(random, test::total_of(call), channels, -2, 2));
  return u;
}

}  // namespace

// At most 17 multiply-adds and a SiLU of 3e-7 on values of order 1: below 1e-6. Windows are copies:
// exact.
TEST_CASE(
    "conv_silu: widths, channels and biases in successive ragged calls, some shorter than the "
    "window") {
  test::random random(12);
  test::lengths_of_calls const lengths = {{1, 17, 0}, {2, 1, 3}, {0, 5, 1}, {1, 1, 20}};
  for (std::int64_t channels : {1, 3, 16, 17, 32, 129, 1100})
    for (std::int64_t d_conv : {1, 2, 3, 4, 5, 17})
      for (bool bias : {false, true}) {
        CAPTURE(channels);
        CAPTURE(d_conv);
        CAPTURE(bias);
        conv_case const c(random, channels, d_conv, bias);
        auto const u = inputs(random, lengths, channels);
        auto oracle = test::oracle();
        conv_run<test::reference> expected(oracle, c, lengths, u);
        for (int threads : {1, 3}) {
          auto cpu = test::cpu_with(threads);
          conv_run<test::cpu> got(cpu, c, lengths, u);
          for (std::size_t call = 0; call < lengths.size(); ++call)
            CHECK(test::difference(got.y[call], expected.y[call], 1) < 1e-6);
          for (std::size_t s = 0; s < 3; ++s)
            CHECK(test::difference(got.batch.state(s), expected.batch.state(s),
                                   channels * (d_conv - 1)) == 0);
        }
      }
}

TEST_CASE(
    "conv_silu: the window holds the last d_conv - 1 inputs, oldest first; the last tap multiplies "
    "the current token") {
  test::random random(13);
  conv_case c(random, 2, 4, false);
  c.taps = {1000, 100, 10, 1, 0, 0, 0, 1};
  test::matrix<float> u(5, 2);
  for (std::int64_t t = 0; t < 5; ++t) {
    u(t, 0) = static_cast<float>(t + 1);
    u(t, 1) = static_cast<float>(10 * (t + 1));
  }
  auto cpu = test::cpu_with(1);
  conv_run<test::cpu> run(cpu, c, {{5}}, {u});
  double const sums[] = {1, 12, 123, 1234, 2345};
  for (std::int64_t t = 0; t < 5; ++t)
    CHECK(run.y[0](t, 0) == doctest::Approx(plait::ops::silu(sums[t])).epsilon(1e-6));
  for (std::int64_t k = 0; k < 3; ++k) {
    CHECK(run.batch.state(0)[2 * k] == static_cast<float>(k + 3));
    CHECK(run.batch.state(0)[2 * k + 1] == static_cast<float>(10 * (k + 3)));
  }
}

TEST_CASE("conv_silu: a NaN reaches its channel of its sequence alone, for d_conv tokens") {
  test::random random(14);
  conv_case const c(random, 20, 4, true);
  test::lengths_of_calls const lengths = {{6, 9}};
  auto u = inputs(random, lengths, 20);
  u[0](1, 17) = test::nan;
  auto cpu = test::cpu_with(1);
  conv_run<test::cpu> const run(cpu, c, lengths, u);
  for (std::int64_t t = 0; t < 15; ++t)
    for (std::int64_t i = 0; i < 20; ++i)
      REQUIRE(std::isnan(run.y[0](t, i)) == (i == 17 && t >= 1 && t <= 4));
}

TEST_CASE("conv_silu: SiLU of large sums is the sum, or zero where it is negative") {
  test::random random(15);
  conv_case c(random, 1, 1, false);
  c.taps = {1};
  test::matrix<float> u(5, 1);
  float const values[] = {1e4f, -1e4f, 0.0f, -0.0f, test::infinity};
  for (std::int64_t t = 0; t < 5; ++t) u(t, 0) = values[t];
  auto cpu = test::cpu_with(1);
  conv_run<test::cpu> const run(cpu, c, {{5}}, {u});
  CHECK(run.y[0](0, 0) == 1e4f);
  CHECK(std::fabs(run.y[0](1, 0)) < 1e-30f);
  CHECK(run.y[0](2, 0) == 0);
  CHECK(run.y[0](3, 0) == 0);
  CHECK(run.y[0](4, 0) == test::infinity);
}
