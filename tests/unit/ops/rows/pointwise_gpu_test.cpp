// embed, gather_rows, add_residual, add_norm, inner_norms and rope on a device against the double
// reference.
#include <plait/ops/attention/rope_gpu.hpp>
#include <plait/ops/norm/add_norm_gpu.hpp>
#include <plait/ops/norm/add_residual_gpu.hpp>
#include <plait/ops/norm/inner_norms_gpu.hpp>
#include <plait/ops/rows/embed_gpu.hpp>
#include <plait/ops/rows/gather_rows_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <array>

using plait::dtype;
using plait::role;

TEST_CASE_TEMPLATE("add_norm and add_residual: odd widths, with and without y, in place", T, float,
                   plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  // bf16 has 8 bits: 2^-9 per rounding, of x and of the result.
  double const error = sizeof(T) == 4 ? 1e-6 : 5e-3;
  test::random random(3);
  for (std::int64_t rows : {1, 3, 17})
    for (std::int64_t d : {1, 3, 8, 17, 129, 2056, 4096}) {
      CAPTURE(rows);
      CAPTURE(d);
      auto exec = test::device_with<P>();
      auto oracle = test::oracle();
      auto const x = test::rounded<T>(test::random_matrix(random, rows, d)),
                 y = test::rounded<T>(test::random_matrix(random, rows, d));
      auto const w = random.values(d, 0.5f, 1.5f);
      auto const weight = test::make_device_tensor<test::device<P>, role::vector>(w, d);
      auto const weight_double =
          test::make_tensor<test::reference::storage_type, role::vector>(w, d);
      for (bool add : {false, true}) {
        test::device_matrix_of<T> dx(x), dy(y), dout(rows, d);
        test::matrix<double> rx(x), ry(y), rout(rows, d);
        plait::ops::add_norm(exec, dx.view(), add ? dy.const_view() : plait::matrix_view<T const>{},
                             weight, 1e-6f, dout.view());
        plait::ops::add_norm(oracle, rx.view(),
                             add ? std::as_const(ry).view() : plait::matrix_view<double const>{},
                             weight_double, 1e-6f, rout.view());
        CHECK(test::difference(dx.values(), rx) < error);
        CHECK(test::difference(dout.values(), rout) < 2 * error);
        plait::ops::add_norm(exec, dx.view(), plait::matrix_view<T const>{}, weight, 1e-6f,
                             dx.view());
        plait::ops::add_norm(oracle, rx.view(), plait::matrix_view<double const>{}, weight_double,
                             1e-6f, rx.view());
        CHECK(test::difference(dx.values(), rx) < 2 * error);
        CHECK(dx.intact());
        CHECK(dout.intact());
      }
      test::device_matrix_of<T> dx(x), dy(y);
      test::matrix<double> rx(x), ry(y);
      plait::ops::add_residual(exec, dx.view(), dy.const_view());
      plait::ops::add_residual(oracle, rx.view(), std::as_const(ry).view());
      CHECK(test::difference(dx.values(), rx) < error);
      CHECK(dx.intact());
    }
}

TEST_CASE_TEMPLATE("inner_norms: adjacent parts of a row in one launch", T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(4);
  for (auto const& widths : {std::array<std::int64_t, 3>{256, 16, 16}, {5, 1, 3}, {3, 17, 8}}) {
    auto exec = test::device_with<P>(2);
    auto oracle = test::oracle();
    std::int64_t const total = widths[0] + widths[1] + widths[2];
    auto const x = test::rounded<T>(test::random_matrix(random, 7, total));
    std::vector<decltype(test::make_device_tensor<test::device<P>, role::vector>({}, 0))> on_device;
    std::vector<plait::plain_tensor<double>> in_double;
    for (std::int64_t const n : widths) {
      auto const w = random.values(n, 0.5f, 1.5f);
      on_device.push_back(test::make_device_tensor<test::device<P>, role::vector>(w, n));
      in_double.push_back(test::make_tensor<test::reference::storage_type, role::vector>(w, n));
    }
    test::device_matrix_of<T> dx(x);
    test::matrix<double> rx(x);
    plait::ops::inner_norms(exec, dx.view(),
                            std::array{&std::as_const(on_device[0]), &std::as_const(on_device[1]),
                                       &std::as_const(on_device[2])},
                            1e-6f);
    plait::ops::inner_norms(oracle, rx.view(),
                            std::array{&std::as_const(in_double[0]), &std::as_const(in_double[1]),
                                       &std::as_const(in_double[2])},
                            1e-6f);
    CHECK(exec.runtime.launches.size() == 1);
    CHECK(test::difference(dx.values(), rx) < (sizeof(T) == 4 ? 1e-6 : 5e-3));
    CHECK(dx.intact());
  }
}

// A rotation of bf16 values rounds its result once; cosine and sine are rounded to f32.
TEST_CASE_TEMPLATE("rope: ragged sequences at any position", T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(5);
  for (std::int64_t dim : {2, 10, 64, 130}) {
    auto exec = test::device_with<P>(3);
    auto oracle = test::oracle();
    std::vector<std::int64_t> const first_row = {0, 3, 3, 4}, length = {1000, 7, 0};
    plait::sequences<T> const batch{
        .count = 3, .first_row = first_row.data(), .length = length.data()};
    plait::sequences<double> const expected{
        .count = 3, .first_row = first_row.data(), .length = length.data()};
    auto const staged = exec.stage(plait::call_inputs<T>{.seqs = batch}).seqs;
    auto const q = test::rounded<T>(test::random_matrix(random, 4, 3 * dim)),
               k = test::rounded<T>(test::random_matrix(random, 4, dim));
    test::device_matrix_of<T> dq(q), dk(k);
    test::matrix<double> rq(q), rk(k);
    plait::ops::rope(exec, staged, dim, 10000.0f, std::array{dq.view(), dk.view()});
    plait::ops::rope(oracle, expected, dim, 10000.0f, std::array{rq.view(), rk.view()});
    CHECK(test::difference(dq.values(), rq) < (sizeof(T) == 4 ? 1e-6 : 5e-3));
    CHECK(test::difference(dk.values(), rk) < (sizeof(T) == 4 ? 1e-6 : 5e-3));
    CHECK(dq.intact());
  }
}

TEST_CASE_TEMPLATE("embed and gather_rows: exact copies", Type,
                   std::integral_constant<dtype, dtype::f32>,
                   std::integral_constant<dtype, dtype::bf16>,
                   std::integral_constant<dtype, dtype::int8>) {
  constexpr plait::precision P = Type::value == dtype::f32    ? plait::f32
                                 : Type::value == dtype::bf16 ? plait::bf16
                                                              : plait::int8;
  using device = test::device<P>;
  using T = typename device::value_type;
  test::random random(6);
  for (std::int64_t d : {1, 8, 17, 129, 1100}) {
    auto exec = test::device_with<P>(4);
    auto const table = test::make_device_tensor<device, role::matrix>(random.values(33 * d), 33, d);
    std::vector<std::int32_t> const ids = {0, 32, 17, 17, 5};
    std::vector<std::int64_t> const wanted = {4, 0, 4};
    auto const staged = exec.stage(
        plait::call_inputs<T>{.seqs = {.count = 1,
                                       .first_row = std::array<std::int64_t, 2>{0, 5}.data(),
                                       .length = std::array<std::int64_t, 1>{0}.data()},
                              .ids = ids.data(),
                              .wanted = wanted.data(),
                              .outputs = 3});
    test::device_matrix_of<T> y(5, d), some(3, d), all(5, d);
    plait::ops::embed(exec, {staged.ids, 5}, table, y.view());
    plait::ops::gather_rows(exec, y.const_view(), staged.wanted, some.view());
    plait::ops::gather_rows(exec, y.const_view(), nullptr, all.view());
    auto const values = y.values(), chosen = some.values(), copied = all.values();
    for (std::int64_t c = 0; c < d; ++c) {
      for (std::int64_t t = 0; t < 5; ++t) {
        CHECK(values(t, c) == static_cast<float>(T(table.at(0, ids[std::size_t(t)], c))));
        CHECK(copied(t, c) == values(t, c));
      }
      for (std::int64_t i = 0; i < 3; ++i) CHECK(chosen(i, c) == values(wanted[std::size_t(i)], c));
    }
    CHECK(y.intact());
    CHECK(some.intact());
  }
}
