// The kernel of router for few tokens: product and routing in one launch.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/routing/gpu/route_single_block.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// One block: a warp multiplies per token and expert, then the block routes.
/// Equation: the sum over d is that of each lane, then over the lanes, pairwise
/// Test: tests/unit/model/device_test.cpp
template <class T>
struct router_skinny {
  struct args {
    rows_of<T const> x;
    device_weights<dtype::f32> router;
    rows_of<float> logits;
    route_args route;
  };
  static constexpr int warps = route_single_block::warps, threads = route_single_block::threads;
  /// With more products, several blocks are faster than saving a launch: a warp reads some hundred
  /// bytes per microsecond and token.
  static constexpr std::int64_t max_products = 8 * warps;
  template <class Block>
  using shared = route_single_block::shared<Block>;

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const tokens = a.route.total / a.route.choices;
    std::int64_t const n = a.router.rows;
    std::int64_t const d = a.router.cols;
    for (std::int64_t i = b.warp(); i < tokens * n; i += warps) {
      std::int64_t const t = i / n, e = i % n;
      float const* const w = reinterpret_cast<float const*>(a.router.data) + e * a.router.stride();
      float sum = 0;
      for (std::int64_t c = b.lane() * std::int64_t{vector_elements}; c < d;
           c += warp_size * vector_elements) {
        float x[vector_elements], v[vector_elements];
        load_vector(a.x.row(t) + c, d - c, a.x.aligned, x);
        load_vector(w + c, d - c, true, v);
        PLAIT_UNROLL
        for (int j = 0; j < vector_elements; ++j) sum = fmaf(x[j], v[j], sum);
      }
      sum = warp_sum(b, sum);
      if (b.lane() == 0) a.logits.row(t)[e] = sum;
    }
    b.sync();
    route_single_block::run(b, s, a.route);
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
