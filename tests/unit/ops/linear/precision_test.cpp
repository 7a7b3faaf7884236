// Products in every storage and arithmetic, compared bit for bit with f32 products of the stored
// values and with plain loops that round where the arithmetic does. linear_test compares f32 with
// the reference.
#include <plait/cpu/simd.hpp>
#include <plait/ops/linear/gated_linear_cpu.hpp>
#include <plait/ops/linear/linear_cpu.hpp>
#include <plait/ops/routing/experts_cpu.hpp>
#include <plait/ops/routing/route_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <array>

using plait::dtype;
using plait::role;

namespace {

template <dtype Type>
using stored = plait::panel_matrix<Type>;

template <class Tensor>
Tensor tensor_of(std::vector<float> const& values, std::int64_t rows, std::int64_t cols,
                 std::int64_t copies = 1) {
  Tensor t;
  t.allocate({.name = "w", .rows = rows, .cols = cols, .copies = copies});
  for (std::int64_t i = 0; i < copies * rows; ++i)
    t.set_row(i / rows, i % rows, values.data() + i * cols);
  return t;
}
/// Values rounded by a storage.
template <dtype Type>
std::vector<float> rounded(std::vector<float> values, std::int64_t cols) {
  std::int64_t const rows = static_cast<std::int64_t>(values.size()) / cols;
  auto const t = tensor_of<stored<Type>>(values, rows, cols);
  for (std::int64_t r = 0; r < rows; ++r) t.get_row(0, r, values.data() + r * cols);
  return values;
}

template <plait::precision P, dtype Type>
test::matrix<float> linear(test::matrix<float> const& x, std::vector<float> const& w,
                           std::vector<float> const& bias, int threads) {
  // One workspace for all calls: to reserve one takes longer than a small product.
  static std::array executors{test::cpu_in<P>(1), test::cpu_in<P>(2)};
  auto& cpu = executors[static_cast<std::size_t>(threads - 1)];
  std::int64_t const n = static_cast<std::int64_t>(w.size()) / x.cols();
  test::matrix<float> y(x.rows(), n);
  auto const weights = tensor_of<stored<Type>>(w, n, x.cols());
  auto const b = tensor_of<plait::channel_tensor>(bias, static_cast<std::int64_t>(bias.size()), 1);
  plait::ops::linear(cpu, test::matrix<float>(x).view(),
                     plait::ops::into(y.view(), weights, bias.empty() ? nullptr : &b));
  CHECK(y.intact());
  return y;
}

float multiply_add(float a, float b, float c) {
#if defined(__FMA__)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// One chain per output: of each pair of bf16 products the second is added first.
float in_bf16(float const* x, float const* w, std::int64_t k, float sum) {
  auto const value = [](float v) { return plait::from_bf16(plait::to_bf16(v)); };
  for (std::int64_t i = 0; i < k; i += 2) {
    if (i + 1 < k) sum = multiply_add(value(w[i + 1]), value(x[i + 1]), sum);
    sum = multiply_add(value(w[i]), value(x[i]), sum);
  }
  return sum;
}
/// Activations in 127 steps of the row's largest magnitude; integer sums over blocks of 32 columns.
float in_int8(float const* x, float const* w, std::int64_t k, float bias) {
  float max_activation = 0, sum = 0;
  for (std::int64_t i = 0; i < k; ++i) max_activation = std::max(max_activation, std::fabs(x[i]));
  float const scale = max_activation / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0;
  for (std::int64_t block = 0; block < k; block += 32) {
    float max_weight = 0;  // stored as 127 steps
    std::int64_t dot = 0;
    for (std::int64_t i = block; i < std::min(k, block + 32); ++i)
      max_weight = std::max(max_weight, std::fabs(w[i]));
    float const block_scale = max_weight / 127.0f;
    for (std::int64_t i = block; i < std::min(k, block + 32); ++i) {
      auto const activation =
          static_cast<std::int64_t>(std::nearbyint(double(x[i]) * double(inverse)));
      if (block_scale > 0)
        dot += activation * static_cast<std::int64_t>(std::lround(w[i] / block_scale));
    }
    sum = multiply_add(static_cast<float>(dot), block_scale, sum);
  }
  return multiply_add(sum, scale, bias);
}

constexpr auto bf16_dot = plait::with_compute(plait::bf16, dtype::bf16);
constexpr auto int8_dot = plait::with_compute(plait::int8, dtype::int8);

/// Calls body(tokens, k, n) for odd and even shapes: one group of rows, several groups, several
/// runs of groups.
template <class Body>
void shapes(Body const& body) {
  for (std::int64_t tokens : {1, 2, 5, 7, 12, 13, 17, 200})
    for (std::int64_t k : {1, 3, 17, 31, 32, 33, 64, 129, 1100})
      for (std::int64_t n : {1, 3, 17, 32, 33, 65}) {
        if (tokens == 200 && (k < 129 || n < 33)) continue;
        CAPTURE(tokens);
        CAPTURE(k);
        CAPTURE(n);
        body(tokens, k, n);
      }
}

}  // namespace

TEST_CASE(
    "precision: f32 arithmetic with bf16 or int8 weights gives the bits of f32 weights with their "
    "values") {
  test::random random(60);
  shapes([&](std::int64_t tokens, std::int64_t k, std::int64_t n) {
    test::matrix<float> const x = test::random_matrix(random, tokens, k);
    std::vector<float> const w = random.values(n * k),
                             bias = n % 2 == 0 ? std::vector<float>{} : random.values(n);
    REQUIRE(
        test::same_bits(linear<plait::bf16, dtype::bf16>(x, w, bias, 2),
                        linear<plait::f32, dtype::f32>(x, rounded<dtype::bf16>(w, k), bias, 1)));
    REQUIRE(
        test::same_bits(linear<plait::int8, dtype::int8>(x, w, bias, 2),
                        linear<plait::f32, dtype::f32>(x, rounded<dtype::int8>(w, k), bias, 1)));
  });
}

TEST_CASE("precision: bf16 arithmetic adds pairs of products, the second first, in one chain") {
  test::random random(61);
  shapes([&](std::int64_t tokens, std::int64_t k, std::int64_t n) {
    test::matrix<float> const x = test::random_matrix(random, tokens, k);
    std::vector<float> const w = random.values(n * k),
                             bias = n % 2 == 0 ? std::vector<float>{} : random.values(n);
    auto const y = linear<bf16_dot, dtype::bf16>(x, w, bias, 2);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < n; ++i)
        REQUIRE(y(t, i) == in_bf16(&x(t, 0), w.data() + i * k, k,
                                   bias.empty() ? 0.0f : bias[static_cast<std::size_t>(i)]));
  });
}

TEST_CASE("precision: int8 arithmetic adds integers in blocks of 32, with a scale per token") {
  test::random random(62);
  shapes([&](std::int64_t tokens, std::int64_t k, std::int64_t n) {
    test::matrix<float> const x = test::random_matrix(random, tokens, k);
    // Multiples of a power of two, with 127 of it in every block: stored without rounding.
    std::vector<float> w = random.values(n * k),
                       bias = n % 2 == 0 ? std::vector<float>{} : random.values(n);
    for (std::size_t i = 0; i < w.size(); ++i)
      w[i] = (static_cast<std::int64_t>(i) % k % 32 == 0 ? 127.0f : std::nearbyint(w[i] * 127)) /
             1024 * (i / 32 % 3 == 0 ? 0.5f : 1.0f);
    std::vector<float> const stored_values = rounded<dtype::int8>(w, k);
    auto const y = linear<int8_dot, dtype::int8>(x, w, bias, 2);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < n; ++i)
        REQUIRE(y(t, i) == in_int8(&x(t, 0), stored_values.data() + i * k, k,
                                   bias.empty() ? 0.0f : bias[static_cast<std::size_t>(i)]));
  });
}

// The rounding error of a bf16 value is 2^-9 of itself; of an int8 weight half a step, 1 / 254 of
// the largest of its 32; of an int8 activation 1 / 254 of the largest of its row. Terms have random
// signs: an output is of order sqrt(k) / 3.
TEST_CASE("precision: errors are within the steps of the formats") {
  test::random random(63);
  std::int64_t const tokens = 20, k = 512, n = 48;
  test::matrix<float> const x = test::random_matrix(random, tokens, k);
  std::vector<float> const w = random.values(n * k);
  auto const exact = linear<plait::f32, dtype::f32>(x, w, {}, 1);
  double const magnitude = std::sqrt(double(k)) / 3;  // of an output
  auto const error = [&](test::matrix<float> const& y) {
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < n; ++i)
        sum += std::pow(double(y(t, i)) - double(exact(t, i)), 2);
    return std::sqrt(sum / double(tokens * n)) / magnitude;
  };
  CHECK(error(linear<plait::bf16, dtype::bf16>(x, w, {}, 1)) < 0x1p-9);
  CHECK(error(linear<bf16_dot, dtype::bf16>(x, w, {}, 1)) < 0x1p-8);
  CHECK(error(linear<plait::int8, dtype::int8>(x, w, {}, 1)) < 1.0 / 200);
  CHECK(error(linear<int8_dot, dtype::int8>(x, w, {}, 1)) < 1.0 / 140);
  CHECK(error(linear<plait::int8, dtype::int8>(x, w, {}, 1)) > 1e-4);  // weights are rounded
}

TEST_CASE(
    "precision: the arithmetic is at least as precise as the weights: f32 weights use f32, bf16 "
    "weights bf16 or f32") {
  test::random random(64);
  test::matrix<float> const x = test::random_matrix(random, 5, 40);
  std::vector<float> const w = random.values(33 * 40);
  CHECK(test::same_bits(linear<int8_dot, dtype::f32>(x, w, {}, 1),
                        linear<plait::f32, dtype::f32>(x, w, {}, 1)));
  CHECK(test::same_bits(linear<int8_dot, dtype::bf16>(x, w, {}, 1),
                        linear<bf16_dot, dtype::bf16>(x, w, {}, 1)));
  CHECK(test::same_bits(linear<bf16_dot, dtype::int8>(x, w, {}, 1),
                        linear<plait::int8, dtype::int8>(x, w, {}, 1)));
}

TEST_CASE("precision: a value that is not finite reaches its row or its column alone") {
  test::random random(65);
  for (float bad : {test::nan, test::infinity, -test::infinity}) {
    test::matrix<float> x = test::random_matrix(random, 14, 70);
    std::vector<float> w = random.values(40 * 70);
    x(3, 69) = bad;
    w[33 * 70 + 64] = bad;
    auto const check = [&](test::matrix<float> const& y) {
      for (std::int64_t t = 0; t < 14; ++t)
        for (std::int64_t n = 0; n < 40; ++n)
          REQUIRE(std::isfinite(y(t, n)) == (t != 3 && n != 33));
    };
    check(linear<plait::bf16, dtype::bf16>(x, w, {}, 1));
    check(linear<bf16_dot, dtype::bf16>(x, w, {}, 1));
    check(linear<plait::int8, dtype::int8>(x, w, {}, 1));
    check(linear<int8_dot, dtype::int8>(x, w, {}, 1));
  }
}

TEST_CASE("precision: zeros, and the smallest and largest numbers") {
  for (float magnitude : {0.0f, 1e-42f, 1e-30f, 1e-9f, 1e-6f, 1e4f}) {
    CAPTURE(magnitude);
    test::matrix<float> x(2, 64);
    for (std::int64_t c = 0; c < 64; ++c) {
      x(0, c) = 1;
      x(1, c) = magnitude;
    }
    std::vector<float> const w(3 * 64, magnitude);
    float const expected = 64 * magnitude;
    // A scale below 2^-24 and a bf16 value below 2^-126 are zero.
    double const weight_error = magnitude < 1e-5f ? 64 * 127 * 0x1p-24 : 0.005 * double(expected);
    CHECK(std::fabs(double(linear<plait::int8, dtype::int8>(x, w, {}, 1)(0, 0)) -
                    double(expected)) <= weight_error);
    CHECK(std::fabs(double(linear<int8_dot, dtype::int8>(x, w, {}, 1)(0, 0)) - double(expected)) <=
          weight_error);
    CHECK(std::fabs(double(linear<bf16_dot, dtype::bf16>(x, w, {}, 1)(0, 0)) - double(expected)) <=
          0.005 * double(expected) + 1e-37);
    std::vector<float> const ones(3 * 64, 1.0f);
    CHECK(std::fabs(double(linear<int8_dot, dtype::int8>(x, ones, {}, 1)(1, 0)) -
                    double(expected)) <= 0.01 * double(expected) + 1e-33);
  }
}

TEST_CASE_TEMPLATE("precision: gated_linear and experts use the same products", Type,
                   std::integral_constant<dtype, dtype::bf16>,
                   std::integral_constant<dtype, dtype::int8>) {
  test::random random(66);
  constexpr plait::precision wide{.weights = Type::value, .experts = Type::value},
      narrow = plait::with_compute(wide, Type::value);
  for (std::int64_t tokens : {1, 7, 40}) {
    std::int64_t const d = 45, f = 70, n = 4, k = 2;
    test::matrix<float> const x = test::random_matrix(random, tokens, d),
                              logits = test::random_matrix(random, tokens, n);
    std::vector<float> const gate = random.values(n * f * d), up = random.values(n * f * d),
                             down = random.values(n * d * f);
    auto const run = [&]<plait::precision P, dtype Kept>(std::vector<float> const& g,
                                                         std::vector<float> const& u,
                                                         std::vector<float> const& o) {
      auto cpu = test::cpu_in<P>(2);
      plait::arena::frame const scratch(cpu.workspace);
      test::matrix<float> hidden(tokens, f), y(tokens, d);
      plait::ops::gated_linear(cpu, test::matrix<float>(x).view(), tensor_of<stored<Kept>>(g, f, d),
                               tensor_of<stored<Kept>>(u, f, d), hidden.view());
      auto const plan = plait::ops::make_routing(cpu, tokens, n, k);
      plait::ops::route(cpu, test::matrix<float>(logits).view(), plan,
                        plait::router_weights::as_they_are);
      plait::ops::experts(cpu, test::matrix<float>(x).view(), plan,
                          tensor_of<stored<Kept>>(g, f, d, n), tensor_of<stored<Kept>>(u, f, d, n),
                          tensor_of<stored<Kept>>(o, d, f, n), y.view());
      CHECK(hidden.intact());
      CHECK(y.intact());
      return std::pair{hidden, y};
    };
    auto const exact = run.template operator()<plait::f32, dtype::f32>(
        rounded<Type::value>(gate, d), rounded<Type::value>(up, d), rounded<Type::value>(down, f));
    auto const got = run.template operator()<wide, Type::value>(gate, up, down);
    CHECK(test::same_bits(got.first, exact.first));
    CHECK(test::same_bits(got.second, exact.second));
    auto const coarse = run.template operator()<narrow, Type::value>(gate, up, down);
    double const step = Type::value == dtype::bf16 ? 0x1p-8 : 1.0 / 100;
    CHECK(test::difference(coarse.first, exact.first) < 4 * step);
    CHECK(test::difference(coarse.second, exact.second) < 4 * step);
    CHECK(!test::same_bits(coarse.first, exact.first));
    test::matrix<float> gate_sums = linear<narrow, Type::value>(x, gate, {}, 1),
                        up_sums = linear<narrow, Type::value>(x, up, {}, 1);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < f; ++i) {
        alignas(64) float lanes[plait::simd::width];
        plait::simd::store(lanes,
                           plait::simd::mul(plait::simd::silu(plait::simd::set(gate_sums(t, i))),
                                            plait::simd::set(up_sums(t, i))));
        REQUIRE(coarse.first(t, i) == lanes[0]);
      }
  }
}
