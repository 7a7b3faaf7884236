// One call of forward, and the cost of a layer in it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/routing.hpp>
#include <plait/core/macros.hpp>
#include <plait/policy/count.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// The sizes of one call of forward.
/// Test: tests/unit/benchmark/explain_test.cpp
struct call {
  std::int64_t tokens = 1;     ///< new tokens of each sequence
  std::int64_t context = 0;    ///< cached tokens of each sequence
  std::int64_t sequences = 1;  ///< sequences of the call
  bench::routing routing = bench::routing::random;
  friend bool operator==(call const&, call const&) = default;
};

/// Operations and memory traffic of a call.
/// Test: tests/unit/benchmark/explain_test.cpp
struct call_cost {
  double flops = 0;  ///< operations; a multiply-add is two
  double bytes = 0;  ///< lower bound of the traffic: each byte moves once
  constexpr call_cost& operator+=(call_cost const& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

/// The cost of a layer in a call. Activations are not counted.
/// Equation: operations as `policies::flops` counts them, with context + (tokens + 1) / 2 keys per
///   token on average. Bytes: the weights once in precision `as`, with the experts that are
///   reached; for each sequence, its state read and written, its cached keys and values read, and
///   the new ones written
/// Shapes: `reached`: experts that the call reaches; below 0: the number that the routing implies
/// Test: tests/unit/benchmark/explain_test.cpp
template <class Policy>
call_cost layer_cost(Policy const& p, int d_model, precision const& as, call const& c,
                     double reached = -1) {
  std::int64_t const rows = c.tokens * c.sequences;
  if (reached < 0) reached = experts_reached(p, c.routing, rows);
  // policies::flops takes an integer number of keys. The mean over 1 to `tokens` new keys, (tokens
  // + 1) / 2, may be fractional; its cost is the mean of the costs of the two adjacent integers.
  double const flops = 0.5 * (double(policies::flops(p, d_model, c.context + (c.tokens + 1) / 2)) +
                              double(policies::flops(p, d_model, c.context + (c.tokens + 2) / 2)));
  double const sequence_bytes =
      2 * double(sizeof(float)) * double(policies::state(p, d_model)) +
      double(value_bytes(as.kv)) * double(policies::kv(p, d_model)) * double(c.context + c.tokens);
  return {double(rows) * flops,
          double(policies::bytes(p, d_model, as, reached)) + double(c.sequences) * sequence_bytes};
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
