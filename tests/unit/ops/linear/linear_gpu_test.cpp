// linear on a device against the double reference with the stored weights.
#include <plait/ops/linear/linear_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::precision;
using plait::role;

namespace {

/// The relative error of sums of K products in f32, rounded once more to T. The library's gemm
/// rounds int8 weights to bf16, and rounds before it adds the bias.
template <class T>
double tolerance(precision p, std::int64_t rows) {
  double const result = sizeof(T) == 4 ? 2e-6 : 3.92e-3;  // 2^-8: half a unit in the last of 8 bits
  bool const library =
      p.weights != dtype::f32 && rows > plait::ops::max_skinny_rows<dtype::bf16> &&
      (p.weights == dtype::bf16 || rows > plait::ops::max_skinny_rows<dtype::int8>);
  return result * (library ? 2 : 1) + (library && p.weights == dtype::int8 ? 3.92e-3 : 0);
}

template <precision P, role Role = role::matrix>
auto random_tensor(test::random& random, std::int64_t n, std::int64_t k) {
  return test::make_device_tensor<test::device<P>, Role>(random.values(n * k), n, k);
}
template <precision P, class Y>
void check(std::int64_t rows, std::int64_t k, std::vector<std::int64_t> const& widths,
           std::uint64_t seed, std::int64_t gap = 8) {
  CAPTURE(rows);
  CAPTURE(k);
  CAPTURE(widths[0]);
  using T = typename test::device<P>::value_type;
  test::random random(seed);
  auto exec = test::device_with<P>(seed, test::small_workspace);
  // Few and many blocks: warps share columns, or do not.
  exec.runtime.multiprocessors = seed % 2 == 0 ? 1 : 132;
  auto oracle = test::oracle();
  test::poison(exec);
  auto const x = test::rounded<T>(test::random_matrix(random, rows, k));
  test::device_matrix_of<T> const input(x, gap);
  test::matrix<double> const input_double(x);
  std::vector<decltype(random_tensor<P>(random, 1, 1))> weights;
  std::vector<test::device_matrix_of<Y>> y;
  std::vector<test::matrix<double>> expected;
  for (std::int64_t n : widths) {
    weights.push_back(random_tensor<P>(random, n, k));
    y.emplace_back(rows, n, gap);
    expected.emplace_back(rows, n);
  }
  auto const bias_values = random.values(widths[0], -3, 3);
  auto const bias = test::make_device_tensor<test::device<P>, role::vector>(bias_values, widths[0]);
  auto const bias_double =
      test::make_tensor<test::reference::storage_type, role::vector>(bias_values, widths[0]);
  for (std::size_t i = 0; i < widths.size(); ++i)
    plait::ops::linear(oracle, input_double.view(),
                       plait::ops::into(expected[i].view(), test::stored<role::matrix>(weights[i]),
                                        widths.size() == 1 ? &bias_double : nullptr));
  if (widths.size() == 3)
    plait::ops::linear(exec, input.const_view(),
                       std::array{plait::ops::into(y[0].view(), weights[0]),
                                  plait::ops::into(y[1].view(), weights[1]),
                                  plait::ops::into(y[2].view(), weights[2])});
  else
    plait::ops::linear(exec, input.const_view(), plait::ops::into(y[0].view(), weights[0], &bias));
  for (std::size_t i = 0; i < widths.size(); ++i) {
    CHECK(test::difference(y[i].values(), expected[i]) < tolerance<Y>(P, rows));
    CHECK(y[i].intact());
  }
  if (widths.size() == 3 && P.weights != dtype::f32 && rows <= 64 && k % 8 == 0 && gap % 8 == 0)
    CHECK(exec.runtime.launches.size() == 1);
}

template <precision P>
void check_shapes() {
  using T = typename test::device<P>::value_type;
  std::uint64_t seed = 1;
  for (std::int64_t rows : {1, 3, 8, 9, 17, 40, 64, 70})
    for (auto const& [k, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {3, 17}, {32, 16}, {129, 33}, {264, 15}, {520, 3}})
      if (++seed % 3 == 0)
        check<P, T>(rows, k, {n}, seed);
      else if (rows * k < 10000)
        check<P, float>(rows, k, {n}, seed);
  for (std::int64_t rows : {1, 11, 33, 65}) {
    check<P, T>(rows, 64, {33, 1, 48}, ++seed);
    check<P, T>(rows, 40, {16, 80, 5}, ++seed, 3);  // unaligned rows of x
  }
  check<P, T>(2, 300, {160, 32, 32}, ++seed);
}

}  // namespace

TEST_CASE("int8_to_bf16: every byte at every place is exact") {
  for (int value = -128; value < 128; ++value)
    for (int place = 0; place < 4; ++place) {
      std::uint32_t even = 0, odd = 0;
      plait::kernels::int8_to_bf16((0x80017f55u & ~(0xffu << (8 * place))) |
                                       static_cast<std::uint32_t>(value & 0xff) << (8 * place),
                                   even, odd);
      std::uint32_t const word = place % 2 == 0 ? even : odd;
      REQUIRE((place < 2 ? plait::kernels::low_half(word) : plait::kernels::high_half(word)) ==
              static_cast<float>(value));
    }
}

TEST_CASE(
    "linear on a device: f32, odd shapes, one output with a bias or three without, of T and of "
    "f32") {
  check_shapes<plait::f32>();
}
TEST_CASE("linear on a device: bf16, odd shapes") { check_shapes<plait::bf16>(); }
TEST_CASE("linear on a device: int8, odd shapes, by kernels and by the library") {
  check_shapes<plait::int8>();
  check<plait::int8, plait::bf16_t>(300, 40, {33}, 77);  // by the library
  check<plait::int8, plait::bf16_t>(130, 40, {17}, 78);  // rows in three groups
}

TEST_CASE_TEMPLATE("linear on a device: a NaN reaches the row of x or of the weights alone", Tag,
                   std::integral_constant<int, 0>, std::integral_constant<int, 1>) {
  constexpr precision P = Tag::value == 0 ? plait::bf16 : plait::int8;
  test::random random(9);
  for (std::int64_t rows : {3, 20, 64}) {
    auto x = test::random_matrix(random, rows, 45);
    auto w = random.values(40 * 45);
    x(2, 44) = test::nan;
    w[33 * 45 + 44] = test::nan;
    auto exec = test::device_with<P>(1, test::small_workspace);
    test::poison(exec);
    test::device_matrix_of<plait::bf16_t> const input(x);
    test::device_matrix_of<plait::bf16_t> y(rows, 40);
    plait::ops::linear(
        exec, input.const_view(),
        plait::ops::into(y.view(),
                         test::make_device_tensor<test::device<P>, role::matrix>(w, 40, 45)));
    auto const got = y.values();
    for (std::int64_t t = 0; t < rows; ++t)
      for (std::int64_t n = 0; n < 40; ++n) REQUIRE(std::isnan(got(t, n)) == (t == 2 || n == 33));
  }
}

TEST_CASE(
    "linear on a device: a router multiplies weights in f32 with activations in bf16, for any "
    "number of rows") {
  std::uint64_t seed = 0;
  for (std::int64_t rows : {1, 5, 64, 67})
    for (auto const& shape : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {17, 3}, {256, 16}, {2060, 9}}) {
      std::int64_t const k = shape.first, n = shape.second;
      CAPTURE(rows);
      CAPTURE(k);
      CAPTURE(n);
      test::random random(++seed);
      auto exec = test::device_with<plait::int8>(seed, test::small_workspace);
      auto oracle = test::oracle();
      auto const x = test::rounded<plait::bf16_t>(test::random_matrix(random, rows, k));
      test::device_matrix_of<plait::bf16_t> const input(x, 5);
      test::matrix<double> const input_double(x);
      test::device_matrix_of<float> y(rows, n);
      test::matrix<double> expected(rows, n);
      auto const w = random_tensor<plait::int8, role::router>(random, n, k);
      static_assert(decltype(w)::type == dtype::f32);
      plait::ops::linear(exec, input.const_view(), plait::ops::into(y.view(), w));
      plait::ops::linear(oracle, input_double.view(),
                         plait::ops::into(expected.view(), test::stored<role::matrix>(w)));
      CHECK(test::difference(y.values(), expected) < 2e-6);
      CHECK(y.intact());
    }
}

TEST_CASE("linear on a device: the library's gemm converts int8 weights to bf16 part by part") {
  test::random random(11);
  auto exec = test::device_with<plait::int8>(1, test::small_workspace);
  auto oracle = test::oracle();
  auto const x = test::rounded<plait::bf16_t>(test::random_matrix(random, 5, 40));
  test::device_matrix_of<plait::bf16_t> const input(x);
  test::matrix<double> const input_double(x);
  test::device_matrix_of<float> y(5, 70);
  test::matrix<double> expected(5, 70);
  auto const w = random_tensor<plait::int8>(random, 70, 40);
  plait::ops::library_gemm<dtype::int8, 32 * 64>(exec, w.device_view())
      .multiply(exec, input.const_view(), w.device_view(), y.view());
  plait::ops::linear(oracle, input_double.view(),
                     plait::ops::into(expected.view(), test::stored<role::matrix>(w)));
  CHECK(test::difference(y.values(), expected) < 3.92e-3);
  CHECK(y.intact());
  CHECK(exec.runtime.launches.size() == 6);
}

TEST_CASE(
    "linear on a device: the order of threads changes no bit; without rows nothing is launched") {
  test::random random(4);
  auto const x = test::random_matrix(random, 13, 200);
  auto const w = random_tensor<plait::int8>(random, 50, 200);
  std::vector<test::matrix<float>> results;
  for (std::uint64_t seed : {1u, 2u, 3u}) {
    auto exec = test::device_with<plait::int8>(seed, test::small_workspace);
    test::poison(exec);
    test::device_matrix_of<plait::bf16_t> const input(x);
    test::device_matrix_of<float> y(13, 50);
    plait::ops::linear(exec, input.const_view(), plait::ops::into(y.view(), w));
    results.push_back(y.values());
    CHECK(test::same_bits(results.front(), results.back()));
    exec.runtime.launches.clear();
    plait::ops::linear(exec, input.const_view().middle_rows(0, 0),
                       plait::ops::into(y.view().middle_rows(0, 0), w));
    CHECK(exec.runtime.launches.empty());
  }
}

TEST_CASE("linear on a device: the measured workspace suffices, for unaligned rows too") {
  test::random random(5);
  for (std::int64_t rows : {2, 64, 300})
    for (std::int64_t gap : {3, 8}) {
      test::device<plait::int8> exec;
      auto const w = random_tensor<plait::int8>(random, 40, 70);
      test::device_matrix_of<plait::bf16_t> const input(test::random_matrix(random, rows, 70), gap);
      test::device_matrix_of<plait::bf16_t> y(rows, 40);
      auto const call = [&](plait::matrix_view<plait::bf16_t const> x) {
        plait::ops::linear(exec, x, plait::ops::into(y.view(), w));
      };
      exec.workspace.reserve(exec.workspace.measure([&] { call({nullptr, rows, 70, 72}); }));
      CHECK_NOTHROW(call(input.const_view()));
    }
}
