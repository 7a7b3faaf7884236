// One launch for few tokens: a warp a token and expert multiplies, then the same block routes;
// otherwise one op after the other.
// Equation: the sum over d is the lanes' shares, added in pairs
// Shapes: tokens times experts at most 128
// Test: tests/model/device_test.cpp
#pragma once

#include <plait/ops/cuda/linear.hpp>
#include <plait/ops/cuda/route.hpp>
#include <plait/ops/gate.hpp>

namespace plait::inline PLAIT_ABI::kernels {

/// One block multiplies, a warp a token and expert, and routes.
template <class T>
struct gate_few {
  struct args {
    rows_of<T const> x;
    device_weights<dtype::f32> router;
    rows_of<float> logits;
    route_args route;
  };
  static constexpr int warps = route_few::warps, threads = route_few::threads;
  /// Beyond, more blocks are faster than one launch less: a warp reads some hundred bytes a
  /// microsecond and token.
  static constexpr std::int64_t most_products = 8 * warps;
  template <class Block>
  using shared = route_few::shared<Block>;

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const tokens = a.route.total / a.route.choices, n = a.router.rows, d = a.router.cols;
    for (std::int64_t i = b.warp(); i < tokens * n; i += warps) {
      std::int64_t const t = i / n, e = i % n;
      float const* const w = reinterpret_cast<float const*>(a.router.data) + e * a.router.stride();
      float sum = 0;
      for (std::int64_t c = b.lane() * std::int64_t{lot}; c < d; c += warp_size * lot) {
        float x[lot], v[lot];
        load_lot(a.x.row(t) + c, d - c, a.x.aligned, x);
        load_lot(w + c, d - c, true, v);
        PLAIT_UNROLL
        for (int j = 0; j < lot; ++j) sum = fmaf(x[j], v[j], sum);
      }
      sum = warp_sum(b, sum);
      if (b.lane() == 0) a.logits.row(t)[e] = sum;
    }
    b.sync();
    route_few::run(b, s, a.route);
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct gate_op<exec::device<P, Runtime>> {
  template <class T, class Memory>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T const> x, device_matrix<dtype::f32, Memory> const& router,
                  matrix_view<float> logits, routing<float> const& plan, gate_weights weights) {
    using kernel = kernels::gate_few<T>;
    std::int64_t const tokens = x.rows(), n = router.rows();
    if (tokens * n <= kernel::most_products && n <= kernels::route_few::range) {
      matrix_view<float const> const chosen_from = logits;
      exec.template launch<kernel>({.x = tokens > 0 ? 1 : 0}, {x, router.there(), logits, route_arguments(chosen_from, plan, weights)});
      return;
    }
    linear(exec, x, into(logits, router));
    route(exec, matrix_view<float const>(logits), plan, weights);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
