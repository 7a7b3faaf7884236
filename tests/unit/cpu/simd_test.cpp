#include <plait/cpu/simd.hpp>
#include <plait/ops/activation/activation.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <bit>

namespace {

namespace simd = plait::simd;

constexpr float min_magnitude = 1e-37f;  // below, intermediate results may be subnormal

/// The largest relative error of f against exact over the floats from `low` to `high`, every
/// `step`-th by its bits.
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
    for (std::uint32_t b = std::bit_cast<std::uint32_t>(-min_magnitude);
         b <= std::bit_cast<std::uint32_t>(low); b += step)
      push(std::bit_cast<float>(b));
  for (std::uint32_t b = std::bit_cast<std::uint32_t>(min_magnitude);
       b <= std::bit_cast<std::uint32_t>(high); b += step)
    push(std::bit_cast<float>(b));
  push(low);
  push(high);
  flush();
  return worst;
}

float one(auto f, float x) {
  alignas(64) float y[simd::width];
  simd::store(y, f(simd::set(x)));
  return y[0];
}
constexpr auto exp_of = [](simd::packet x) { return simd::exp(x); };
constexpr auto exp2_of = [](simd::packet x) { return simd::exp2(x); };
constexpr auto exp_minus_of = [](simd::packet x) { return simd::exp_minus(x); };
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
  for (float x : {-87.0f, -1e4f, -3e38f, -test::infinity})
    CHECK(one(exp_of, x) == one(exp_of, -86.9f));
  CHECK(std::isfinite(one(exp_of, 88.3f)));
  CHECK(one(exp_of, -86.9f) > 0);
  // NaN of any payload: it may come from a file.
  for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fc00001u, 0x7f800001u, 0xffffffffu,
                             0x7fffffffu, 0x7f812345u}) {
    CAPTURE(bits);
    CHECK(std::isnan(one(exp_of, std::bit_cast<float>(bits))));
    CHECK(std::isnan(one(silu_of, std::bit_cast<float>(bits))));
    CHECK(std::isnan(one(softplus_of, std::bit_cast<float>(bits))));
  }
}

// The polynomials' errors are 9.3e-8 and 9.2e-8, the last rounding adds 6e-8 of a result just above
// 1, those before it up to 2e-8.
TEST_CASE(
    "simd: exp2 has a relative error below 1.8e-7 and an absolute one below 1.3e-7 on [-125, 0]; "
    "exp_minus 1.8e-7 on [-86.6, 86.6]") {
  auto const negated = [](simd::packet x) { return simd::exp2(simd::sub(simd::set(0.0f), x)); };
  CHECK(worst_error(min_magnitude, 125.0f, 127, negated, [](double x) { return std::exp2(-x); }) <
        1.8e-7);
  CHECK(worst_error(-86.6f, 86.6f, 511, exp_minus_of, [](double x) { return std::exp(-x); }) <
        1.8e-7);
  double worst = 0;
  for (float x = 0; x < 30; x += 1.0f / 65536)
    worst = std::max(worst, std::fabs(double{one(exp2_of, -x)} - std::exp2(-double{x})));
  CHECK(worst < 1.3e-7);
}

// Decay factors of slow channels are products of many values of exp2 near 0. Below 1 a rounding is
// at most 2^-25; the polynomial's error is 3e-7 of its slope.
TEST_CASE("simd: near 0 the error of exp2 is one rounding") {
  for (float x = 0x1p-40f; x < 0x1p-6f; x *= 1.0001f)
    REQUIRE(std::fabs(double{one(exp2_of, -x)} - std::exp2(-double{x})) <=
            0x1p-25 + 3.2e-7 * std::log(2.0) * x);
}

TEST_CASE(
    "simd: exp2 is exact at whole numbers and clamped below -125; a NaN without a payload stays "
    "NaN") {
  for (int n = 0; n <= 125; ++n)
    CHECK(one(exp2_of, static_cast<float>(-n)) == std::ldexp(1.0f, -n));
  for (float x : {-0.0f, -1e-40f}) CHECK(one(exp2_of, x) == 1);
  for (float x : {-125.5f, -126.0f, -127.0f, -1e4f, -1e30f, -test::infinity})
    CHECK(one(exp2_of, x) == 0x1p-125f);
  for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u})
    CHECK(std::isnan(one(exp2_of, std::bit_cast<float>(bits))));
}

#if defined(__FMA__)
// The formulas in scalar IEEE 754 arithmetic: the bits of every instruction set with a fused
// multiply-add.
TEST_CASE("simd: exp2 and exp_minus give the bits of the formulas in scalar arithmetic") {
  constexpr float rounder = 12582912.0f;
  auto const times_power = [](float p, float shifted) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) +
                                (std::bit_cast<std::uint32_t>(shifted) << 23));
  };
  auto const exp2_formula = [&](float x) {
    x = std::max(x, -125.0f);
    float const shifted = x + rounder, f = x - (shifted - rounder);
    float p = 0.00132695551f;
    for (float c : {0.0096712932f, 0.0555071086f, 0.240222469f, 0.693147004f, 1.0f})
      p = std::fma(p, f, c);
    return times_power(p, shifted);
  };
  auto const exp_minus_formula = [&](float x) {
    float const shifted = std::fma(x, -1.44269504088896341f, rounder), n = shifted - rounder;
    float const r = std::fma(n, 1.42860682030941723212e-6f, std::fma(n, 0.693145751953125f, x));
    float p = -0.00828956626f;
    for (float c : {0.0418978296f, -0.166676491f, 0.499991506f, -0.999999702f, 1.0f})
      p = std::fma(p, r, c);
    return times_power(p, shifted);
  };
  test::random random(34);
  for (float low : {-1e-3f, -1.0f, -20.0f, -130.0f})
    for (float x : random.values(200000, low, 0)) {
      REQUIRE(std::bit_cast<std::uint32_t>(one(exp2_of, x)) ==
              std::bit_cast<std::uint32_t>(exp2_formula(x)));
      float const y = std::max(x, -86.6f) * (x < low / 2 ? 1.0f : -1.0f);
      REQUIRE(std::bit_cast<std::uint32_t>(one(exp_minus_of, y)) ==
              std::bit_cast<std::uint32_t>(exp_minus_formula(y)));
    }
}
#endif

// An exp of 1.8e-7, an addition and a division of 6e-8 each. The exp is clamped below -86.6, where
// the result is below 1e-35.
TEST_CASE("simd: silu has a relative error below 3e-7 from -86.6 up, and vanishes below") {
  CHECK(worst_error(-86.6f, 3e38f, 1023, silu_of, [](double x) { return plait::ops::silu(x); }) <
        3e-7);
  for (float x : {-88.0f, -89.0f, -1e4f, -3e38f, -test::infinity})
    CHECK(std::fabs(one(silu_of, x)) < 3e-36f);
  CHECK(one(silu_of, 0.0f) == 0);
  CHECK(one(silu_of, -0.0f) == 0);
  CHECK(one(silu_of, 1e4f) == 1e4f);
  CHECK(one(silu_of, test::infinity) == test::infinity);
}

TEST_CASE("simd: softplus has a relative error below 3e-7 from -86.6 up, and vanishes below") {
  CHECK(worst_error(-86.6f, 3e38f, 1023, softplus_of,
                    [](double x) { return plait::ops::softplus(x); }) < 3e-7);
  for (float x : {-88.0f, -1e4f, -test::infinity}) {
    CHECK(one(softplus_of, x) >= 0);
    CHECK(one(softplus_of, x) < 3e-38f);
  }
  CHECK(one(softplus_of, 1e4f) == 1e4f);
  CHECK(one(softplus_of, test::infinity) == test::infinity);
}

TEST_CASE("simd: a value's result depends neither on its lane nor on the number of lanes in use") {
  test::random random(32);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> const x = random.values(simd::width, -30, 30);
    for (auto f : {+[](simd::packet p) { return simd::exp(p); },
                   +[](simd::packet p) { return simd::exp2(simd::min(p, simd::set(0.0f))); },
                   +[](simd::packet p) { return simd::exp_minus(p); },
                   +[](simd::packet p) { return simd::silu(p); },
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

TEST_CASE("simd: partial loads and stores touch no memory beyond their values") {
  for (std::int64_t n = 1; n <= simd::width; ++n) {
    // Sanitizers check reads beyond its end.
    std::vector<float> const from(static_cast<std::size_t>(n), 3.0f);
    std::vector<float> to(static_cast<std::size_t>(simd::width + 1), -1.0f);
    simd::packet const x = simd::load(from.data(), n);
    alignas(64) float lanes[simd::width];
    simd::store(lanes, x);
    for (std::int64_t i = 0; i < simd::width; ++i) CHECK(lanes[i] == (i < n ? 3.0f : 0.0f));
    simd::store(to.data(), x, n);
    for (std::int64_t i = 0; i <= simd::width; ++i)
      CHECK(to[static_cast<std::size_t>(i)] == (i < n ? 3.0f : -1.0f));
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

TEST_CASE("simd: lane_sum has 16 chains for any register width, added pairwise") {
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
