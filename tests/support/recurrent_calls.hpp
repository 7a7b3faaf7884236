// Calls of an op with a recurrent state, one after the other, and the comparison of what they give.
#pragma once

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace test {

/// Outputs [call], and the states of all sequences after every call [call][sequence][value].
template <class T>
struct recurrent_results {
  std::vector<matrix<T>> y;
  std::vector<std::vector<std::vector<T>>> states;
};

/// Calls `forward(call, sequences)`, which returns the output, for all calls from empty states on.
template <class T, class Forward>
recurrent_results<T> run_calls(lengths_of_calls const& calls, std::int64_t state_values,
                               Forward const& forward) {
  ragged<T> batch(std::vector<std::int64_t>(calls[0].size(), 0), state_values, 0);
  recurrent_results<T> results;
  for (std::size_t call = 0; call < calls.size(); ++call) {
    results.y.push_back(forward(call, batch.with(calls[call])));
    CHECK(batch.intact());
    auto& states = results.states.emplace_back();
    for (std::size_t s = 0; s < calls[call].size(); ++s)
      states.emplace_back(batch.state(s), batch.state(s) + state_values);
    batch.advance();
  }
  return results;
}

/// The largest relative error of a call's outputs; with `bf16`, beyond half of the last of a
/// value's 8 bits, the cost of rounding it once.
template <class B>
double output_error(recurrent_results<float> const& got, recurrent_results<B> const& expected,
                    double at_least = 1, bool bf16 = false) {
  double worst = 0;
  for (std::size_t call = 0; call < got.y.size(); ++call) {
    relative_error error(at_least);
    for (std::int64_t t = 0; t < got.y[call].rows(); ++t)
      for (std::int64_t i = 0; i < got.y[call].cols(); ++i) {
        double const a = double(got.y[call](t, i)), e = double(expected.y[call](t, i));
        error.add(a, e, bf16 ? std::ldexp(0x1p-8, std::ilogb(a == 0 ? 1e-30 : a)) : 0);
      }
    worst = std::max(worst, error.value());
  }
  return worst;
}
/// The largest relative error of a sequence's states.
template <class A, class B>
double state_error(recurrent_results<A> const& got, recurrent_results<B> const& expected,
                   double at_least = 0.1) {
  double worst = 0;
  for (std::size_t call = 0; call < got.states.size(); ++call)
    for (std::size_t s = 0; s < got.states[call].size(); ++s)
      worst =
          std::max(worst, difference(got.states[call][s].data(), expected.states[call][s].data(),
                                     std::int64_t(got.states[call][s].size()), at_least));
  return worst;
}
inline bool same_bits(recurrent_results<float> const& a, recurrent_results<float> const& b) {
  for (std::size_t call = 0; call < a.y.size(); ++call) {
    if (!same_bits(a.y[call], b.y[call])) return false;
    for (std::size_t s = 0; s < a.states[call].size(); ++s)
      if (!same_bits(a.states[call][s], b.states[call][s])) return false;
  }
  return true;
}

/// Requires that calls of `split` tokens of one sequence give the bits of one call with all of
/// them.
inline void require_same_as_whole(recurrent_results<float> const& parts,
                                  std::vector<std::int64_t> const& split,
                                  recurrent_results<float> const& whole) {
  std::int64_t first = 0;
  for (std::size_t call = 0; call < split.size(); ++call) {
    REQUIRE(same_bits(parts.y[call], rows_of(whole.y[0], first, split[call])));
    first += split[call];
  }
  REQUIRE(same_bits(parts.states.back()[0], whole.states[0][0]));
}

}  // namespace test
