// One call of forward, and what a layer costs in it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/routing.hpp>
#include <plait/core/macros.hpp>
#include <plait/policy/count.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// What a call is given: so many sequences, each with `tokens` new tokens on top of `context`
/// cached ones.
/// Equation: operations as `policies::flops` counts them, a token seeing context + (tokens + 1) / 2
///   keys on average. Bytes: weights once in precision `as`, of experts those reached; of each
///   sequence the state in and out, cached keys and values in and new ones out
/// Shapes: `tokens` and `context` of each of `sequences`; `reached` experts, below 0 as the routing
///   says
/// Test: tests/unit/benchmark/explain_test.cpp
struct call {
  std::int64_t tokens = 1, context = 0, sequences = 1;
  bench::routing routing = bench::routing::random;
  friend bool operator==(call const&, call const&) = default;
};

/// Operations and bytes of memory traffic.
struct call_cost {
  double flops = 0, bytes = 0;
  constexpr call_cost& operator+=(call_cost const& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

/// A layer's cost in such a call. Operations as policies::flops counts them, a token seeing half of
/// the new ones on average. Bytes: weights once, of experts as many as are reached; of each
/// sequence the state in and out, cached keys and values in and new ones out. Activations are not
/// counted. `reached` below 0: as the routing says.
template <class Policy>
call_cost layer_cost(Policy const& p, int d_model, precision const& as, call const& c,
                     double reached = -1) {
  std::int64_t const rows = c.tokens * c.sequences;
  if (reached < 0) reached = experts_reached(p, c.routing, rows);
  // The mean over 1 to `tokens` new keys is (tokens + 1) / 2: where that is no whole number,
  // half-way between its neighbours.
  double const flops = 0.5 * (double(policies::flops(p, d_model, c.context + (c.tokens + 1) / 2)) +
                              double(policies::flops(p, d_model, c.context + (c.tokens + 2) / 2)));
  double const kept =
      2 * double(sizeof(float)) * double(policies::state(p, d_model)) +
      double(value_bytes(as.kv)) * double(policies::kv(p, d_model)) * double(c.context + c.tokens);
  return {double(rows) * flops,
          double(policies::bytes(p, d_model, as, reached)) + double(c.sequences) * kept};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
