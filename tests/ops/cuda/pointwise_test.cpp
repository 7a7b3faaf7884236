// embed, gather_rows, add_residual, add_norm, inner_norms and rotate on fibers, against the double reference.
#include <plait/ops/cuda/add_norm.hpp>
#include <plait/ops/cuda/add_residual.hpp>
#include <plait/ops/cuda/embed.hpp>
#include <plait/ops/cuda/gather_rows.hpp>
#include <plait/ops/cuda/rotate.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::role;

TEST_CASE_TEMPLATE("add_norm and add_residual: odd widths, with and without y, in place", T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  double const error = sizeof(T) == 4 ? 1e-6 : 5e-3;  // bf16 has 8 bits: 2^-9 of each rounding, of x and of the result
  test::random random(3);
  for (std::int64_t rows : {1, 3, 17})
    for (std::int64_t d : {1, 3, 8, 17, 129, 2056, 4096}) {
      CAPTURE(rows);
      CAPTURE(d);
      auto exec = test::device_with<P>();
      auto oracle = test::oracle();
      auto const x = test::rounded<T>(test::random_matrix(random, rows, d)), y = test::rounded<T>(test::random_matrix(random, rows, d));
      auto const w = random.values(d, 0.5f, 1.5f);
      auto const weight = test::make_device_tensor<test::fiber_device<P>, role::vector>(w, d);
      auto const weight_double = test::make_tensor<test::reference::storage_type, role::vector>(w, d);
      for (bool add : {false, true}) {
        test::device_matrix_of<T> dx(x), dy(y), dout(rows, d);
        test::matrix<double> rx(x), ry(y), rout(rows, d);
        plait::ops::add_norm(exec, dx.view(), add ? dy.const_view() : plait::matrix_view<T const>{}, weight, 1e-6f, dout.view());
        plait::ops::add_norm(oracle, rx.view(), add ? std::as_const(ry).view() : plait::matrix_view<double const>{}, weight_double, 1e-6f, rout.view());
        CHECK(test::difference(dx.values(), rx) < error);
        CHECK(test::difference(dout.values(), rout) < 2 * error);
        plait::ops::add_norm(exec, dx.view(), plait::matrix_view<T const>{}, weight, 1e-6f, dx.view());
        plait::ops::add_norm(oracle, rx.view(), plait::matrix_view<double const>{}, weight_double, 1e-6f, rx.view());
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
