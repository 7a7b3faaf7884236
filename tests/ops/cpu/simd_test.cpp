#include <plait/ops/activation.hpp>
#include <plait/ops/cpu/simd.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <bit>

namespace {

namespace simd = plait::simd;

constexpr float smallest = 1e-37f;  // below, halves are denormal and round coarsely

/// The largest relative error of f against exact over floats from `low` to `high`, some millions of them spread evenly over their bits.
template <class F, class Exact>
double worst_error(float low, float high, std::uint32_t step, F f, Exact exact) {
  double worst = 0;
  alignas(64) float x[simd::width], y[simd::width];
  int filled = 0;
  auto const flush = [&] {
    for (int i = filled; i < simd::width; ++i) x[i] = 1;
    simd::store(y, f(simd::load(x)));
    for (int i = 0; i < filled; ++i) {
      double const e = exact(double{x[i]});
      double const error = std::fabs(double{y[i]} - e) / std::fabs(e);
      worst = error == error ? std::max(worst, error) : double(test::infinity);
    }
    filled = 0;
  };
  auto const push = [&](float v) {
    x[filled++] = v;
    if (filled == simd::width) flush();
  };
  if (low < 0)
    for (std::uint32_t b = std::bit_cast<std::uint32_t>(-smallest); b <= std::bit_cast<std::uint32_t>(low); b += step)
      push(std::bit_cast<float>(b));
  for (std::uint32_t b = std::bit_cast<std::uint32_t>(smallest); b <= std::bit_cast<std::uint32_t>(high); b += step)
    push(std::bit_cast<float>(b));
  push(low), push(high);
  flush();
  return worst;
}

float one(auto f, float x) {
  alignas(64) float y[simd::width];
  simd::store(y, f(simd::set(x)));
  return y[0];
}
constexpr auto exp_of = [](simd::packet x) { return simd::exp(x); };
constexpr auto silu_of = [](simd::packet x) { return simd::silu(x); };
constexpr auto softplus_of = [](simd::packet x) { return simd::softplus(x); };

}  // namespace

TEST_CASE("simd: exp has a relative error below 1.3e-7 on [-86.9, 88.3]") {
  CHECK(worst_error(-86.9f, 88.3f, 511, exp_of, [](double x) { return std::exp(x); }) < 1.3e-7);
}

TEST_CASE("simd: exp beyond its range is clamped, exact at 0, NaN stays NaN") {
  CHECK(one(exp_of, 0.0f) == 1);
  CHECK(one(exp_of, -0.0f) == 1);
  CHECK(one(exp_of, 1e-40f) == 1);
  for (float x : {88.4f, 1e4f, 3e38f, test::infinity}) CHECK(one(exp_of, x) == one(exp_of, 88.3f));
  for (float x : {-87.0f, -1e4f, -3e38f, -test::infinity}) CHECK(one(exp_of, x) == one(exp_of, -86.9f));
  CHECK(std::isfinite(one(exp_of, 88.3f)));
  CHECK(one(exp_of, -86.9f) > 0);
  // any payload: NaN may come from a file, not only from arithmetic
  for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fc00001u, 0x7f800001u, 0xffffffffu, 0x7fffffffu, 0x7f812345u}) {
    CAPTURE(bits);
    CHECK(std::isnan(one(exp_of, std::bit_cast<float>(bits))));
    CHECK(std::isnan(one(silu_of, std::bit_cast<float>(bits))));
    CHECK(std::isnan(one(softplus_of, std::bit_cast<float>(bits))));
  }
}

// An exp of 1.3e-7, an addition and a division of 6e-8 each; the exp is clamped below -88.3, where the result is below 1e-35 anyway.
TEST_CASE("simd: silu has a relative error below 3e-7 from -86.9 up, and vanishes below") {
  CHECK(worst_error(-86.9f, 3e38f, 1023, silu_of, [](double x) { return plait::ops::silu(x); }) < 3e-7);
  for (float x : {-88.0f, -89.0f, -1e4f, -3e38f, -test::infinity}) CHECK(std::fabs(one(silu_of, x)) < 1e-33f);
  CHECK(one(silu_of, 0.0f) == 0);
  CHECK(one(silu_of, -0.0f) == 0);
  CHECK(one(silu_of, 1e4f) == 1e4f);
  CHECK(one(silu_of, test::infinity) == test::infinity);
}

TEST_CASE("simd: softplus has a relative error below 3e-7 from -86.9 up, and vanishes below") {
  CHECK(worst_error(-86.9f, 3e38f, 1023, softplus_of, [](double x) { return plait::ops::softplus(x); }) < 3e-7);
  for (float x : {-88.0f, -1e4f, -test::infinity}) {
    CHECK(one(softplus_of, x) >= 0);
    CHECK(one(softplus_of, x) < 2e-38f);
  }
  CHECK(one(softplus_of, 1e4f) == 1e4f);
  CHECK(one(softplus_of, test::infinity) == test::infinity);
}

TEST_CASE("simd: a value's result does not depend on its lane, nor on how much of the register is used") {
  test::random random(32);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> const x = random.values(simd::width, -30, 30);
    for (auto f : {+[](simd::packet p) { return simd::exp(p); }, +[](simd::packet p) { return simd::silu(p); },
                   +[](simd::packet p) { return simd::softplus(p); }}) {
      alignas(64) float full[simd::width], part[simd::width];
      simd::store(full, f(simd::load(x.data())));
      for (std::int64_t n = 1; n <= simd::width; ++n) {
        simd::store(part, f(simd::load(x.data() + n - 1, 1)));
        REQUIRE(part[0] == full[n - 1]);
        simd::store(part, f(simd::load(x.data(), n)));
        REQUIRE(test::same_bits(part, full, n));
      }
    }
    REQUIRE(simd::exp(x[0]) == one(exp_of, x[0]));
  }
}

TEST_CASE("simd: partial loads read and partial stores write nothing beyond") {
  for (std::int64_t n = 1; n <= simd::width; ++n) {
    std::vector<float> const from(static_cast<std::size_t>(n), 3.0f);  // the sanitizers watch its end
    std::vector<float> to(static_cast<std::size_t>(simd::width + 1), -1.0f);
    simd::packet const x = simd::load(from.data(), n);
    alignas(64) float lanes[simd::width];
    simd::store(lanes, x);
    for (std::int64_t i = 0; i < simd::width; ++i) CHECK(lanes[i] == (i < n ? 3.0f : 0.0f));
    simd::store(to.data(), x, n);
    for (std::int64_t i = 0; i <= simd::width; ++i) CHECK(to[static_cast<std::size_t>(i)] == (i < n ? 3.0f : -1.0f));
  }
}

TEST_CASE("simd: for_each_packet covers a range once") {
  for (std::int64_t n : {0, 1, 3, 15, 16, 17, 129}) {
    std::int64_t next = 0;
    simd::for_each_packet(n, [&](std::int64_t first, std::int64_t count) {
      CHECK(first == next);
      CHECK((count == simd::width || first + count == n));
      next += count;
    });
    CHECK(next == n);
  }
}

TEST_CASE("simd: lane_sum is 16 chains, whatever the register, added pairwise") {
  test::random random(33);
  for (std::int64_t n : {0, 1, 3, 7, 15, 16, 17, 31, 32, 129, 1000}) {
    CAPTURE(n);
    std::vector<float> const a = random.values(n), b = random.values(n);
    float chain[16] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      float const x = a[static_cast<std::size_t>(i)], y = b[static_cast<std::size_t>(i)];
#if defined(__FMA__)
      chain[i % 16] = std::fma(x, y, chain[i % 16]);
#else
      chain[i % 16] += x * y;
#endif
    }
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) chain[i] += chain[i + half];
    simd::lane_sum products;
    products.add_products(a.data(), b.data(), n);
    CHECK(products.total() == chain[0]);
    if (n % 16 == 0) {
      float values[16] = {};
      for (std::int64_t i = 0; i < n; ++i) values[i % 16] += a[static_cast<std::size_t>(i)];
      for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) values[i] += values[i + half];
      simd::lane_sum sum;
      sum.add_values(a.data(), n);
      CHECK(sum.total() == values[0]);
    }
  }
}
