// gated_linear on a device against the double reference with the stored weights.
#include <plait/ops/linear/gated_linear_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::precision;
using plait::role;

namespace {

/// f32: two sums, and SiLU with an exponential of 2^-22. bf16: the result is rounded, 2^-8. The
/// library's gemm rounds both products, and silu(g) changes by up to 1.1 times the change of g;
/// int8 weights become bf16 there.
template <precision P>
double tolerance(std::int64_t rows) {
  if (P.weights == dtype::f32) return 5e-6;
  bool const library = rows > (P.weights == dtype::int8 ? 256 : 64);
  return 3.92e-3 + (library ? 5e-3 : 0) + (library && P.weights == dtype::int8 ? 8e-3 : 0);
}

template <precision P>
void check(std::int64_t rows, std::int64_t k, std::int64_t f, std::uint64_t seed,
           std::int64_t gap = 8) {
  CAPTURE(rows);
  CAPTURE(k);
  CAPTURE(f);
  using device = test::device<P>;
  using T = typename device::value_type;
  test::random random(seed);
  auto exec = test::device_with<P>(seed, test::small_workspace);
  auto oracle = test::oracle();
  test::poison(exec);
  auto const x = test::rounded<T>(test::random_matrix(random, rows, k));
  test::device_matrix_of<T> const input(x, gap);
  test::matrix<double> const input_double(x);
  float const scale = 3 / std::sqrt(static_cast<float>(k));
  auto const gate =
      test::make_device_tensor<device, role::matrix>(random.values(f * k, -scale, scale), f, k);
  auto const up =
      test::make_device_tensor<device, role::matrix>(random.values(f * k, -scale, scale), f, k);
  test::device_matrix_of<T> y(rows, f, gap);
  test::matrix<double> expected(rows, f);
  plait::ops::gated_linear(exec, input.const_view(), gate, up, y.view());
  plait::ops::gated_linear(oracle, input_double.view(), test::stored<role::matrix>(gate),
                           test::stored<role::matrix>(up), expected.view());
  CHECK(test::difference(y.values(), expected) < tolerance<P>(rows));
  CHECK(y.intact());
  if (P.weights != dtype::f32 && rows <= 64 && k % 8 == 0 && gap % 8 == 0)
    CHECK(exec.runtime.launches.size() == 1);
}

template <precision P>
void check_shapes() {
  std::uint64_t seed = 1;
  for (std::int64_t rows : {1, 3, 8, 9, 17, 40, 64, 70})
    for (auto const& [k, f] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {3, 17}, {32, 16}, {129, 33}, {264, 15}, {16, 130}})
      if (rows * k * f < 40000) check<P>(rows, k, f, ++seed);
  check<P>(5, 40, 24, ++seed, 3);
}

}  // namespace

TEST_CASE("gated_linear on a device: f32, odd shapes") { check_shapes<plait::f32>(); }
TEST_CASE("gated_linear on a device: bf16, odd shapes") { check_shapes<plait::bf16>(); }
TEST_CASE("gated_linear on a device: int8, odd shapes, by kernels and by the library") {
  check_shapes<plait::int8>();
  check<plait::int8>(300, 40, 17, 99);
}

TEST_CASE("gated_linear on a device: a NaN stays in its row") {
  test::random random(3);
  auto x = test::random_matrix(random, 9, 40);
  x(8, 39) = test::nan;
  auto exec = test::device_with<plait::int8>(1, test::small_workspace);
  test::device_matrix_of<plait::bf16_t> const input(x);
  test::device_matrix_of<plait::bf16_t> y(9, 20);
  using device = test::device<plait::int8>;
  auto const gate = test::make_device_tensor<device, role::matrix>(random.values(800), 20, 40),
             up = test::make_device_tensor<device, role::matrix>(random.values(800), 20, 40);
  plait::ops::gated_linear(exec, input.const_view(), gate, up, y.view());
  auto const got = y.values();
  for (std::int64_t t = 0; t < 9; ++t)
    for (std::int64_t n = 0; n < 20; ++n) REQUIRE(std::isnan(got(t, n)) == (t == 8));
}
