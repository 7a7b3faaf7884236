// How tokens are spread over experts, made so and not hoped for.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/count.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// random: weights and inputs as they are drawn. balanced: every expert has as many tokens as any
/// other. zipf: expert e has a share in proportion to 1 / (e + 1), at most one choice a token. one:
/// all tokens have the same expert, or the same K where each has K.
/// Equation: balanced: every expert has a share of k / n; zipf: in proportion to 1 / (e + 1), at
///   most 1; one: the first k have all. A token takes the k experts that are furthest behind their
///   share
/// Shapes: `wanted_experts` [tokens][k], by falling weight; any number of first tokens is spread as
///   all of them, within one or two
/// Test: tests/unit/benchmark/routing_test.cpp
enum class routing : unsigned char { random, balanced, zipf, one };

/// As it is written in a benchmark's name.
constexpr char const* name_of(routing r) {
  return r == routing::random     ? "random"
         : r == routing::balanced ? "balanced"
         : r == routing::zipf     ? "zipf"
                                  : "one";
}

/// The share of tokens that choose each of n experts when every token has k: n values in [0, 1]
/// that add up to k. Those of random are balanced ones: its expectation.
inline std::vector<double> expert_shares(routing r, std::int64_t n, std::int64_t k) {
  std::vector<double> share(static_cast<std::size_t>(n));
  if (r != routing::zipf) {
    for (std::int64_t e = 0; e < n; ++e)
      share[static_cast<std::size_t>(e)] =
          r == routing::one ? (e < k ? 1.0 : 0.0) : double(k) / double(n);
    return share;
  }
  // No expert has more than every token: what is above 1 goes to the others in proportion, until
  // nothing is.
  for (std::int64_t full = 0; full < n; ++full) {
    double rest = 0;
    for (std::int64_t e = full; e < n; ++e) rest += 1 / double(e + 1);
    for (std::int64_t e = 0; e < n; ++e)
      share[static_cast<std::size_t>(e)] = e < full ? 1.0 : double(k - full) / rest / double(e + 1);
    if (share[static_cast<std::size_t>(full)] <= 1) break;
  }
  return share;
}

/// The experts of `tokens` tokens, [tokens][k], by falling weight: each token takes the k experts
/// that are furthest behind their share, the first of equals, so that any number of first tokens is
/// spread as all of them. Not for random, which makes none.
inline std::vector<std::int32_t> wanted_experts(routing r, std::int64_t n, std::int64_t k,
                                                std::int64_t tokens) {
  struct seat {
    double share;
    std::int32_t expert;
    std::int64_t taken, behind;
  };
  std::vector<seat> seats;
  for (double const share : expert_shares(r, n, k))
    seats.push_back({share, static_cast<std::int32_t>(seats.size()), 0, 0});
  std::vector<std::int32_t> wanted;
  wanted.reserve(static_cast<std::size_t>(tokens * k));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (seat& s :
         seats)  // in millionths of a token: shares are rounded, and equals are to stay equal
      s.behind = std::llround(1e6 * (s.share * double(t + 1) - double(s.taken)));
    std::partial_sort(seats.begin(), seats.begin() + k, seats.end(),
                      [](seat const& a, seat const& b) {
                        return a.behind != b.behind ? a.behind > b.behind : a.expert < b.expert;
                      });
    for (std::int64_t j = 0; j < k; ++j) {
      seat& s = seats[static_cast<std::size_t>(j)];
      wanted.push_back(s.expert);
      ++s.taken;
    }
  }
  return wanted;
}

/// Experts that `tokens` tokens reach together: the expected number for random, else the number; 0
/// where a policy routes nothing.
template <class Policy>
double experts_reached([[maybe_unused]] Policy const& p, [[maybe_unused]] routing r,
                       [[maybe_unused]] std::int64_t tokens) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                }) {
    if (r == routing::random) return policies::experts_reached(p, tokens);
    std::vector<char> reached(static_cast<std::size_t>(p.num_experts), 0);
    double count = 0;
    // Beyond this every expert that is ever reached has been: the smallest share is above 1 / (n (1
    // + ln n)).
    std::int64_t const enough = std::min<std::int64_t>(tokens, std::int64_t{64} * p.num_experts);
    for (std::int32_t const e : wanted_experts(r, p.num_experts, p.top_k, enough)) {
      count += reached[static_cast<std::size_t>(e)] == 0;
      reached[static_cast<std::size_t>(e)] = 1;
    }
    return count;
  } else {
    return 0;
  }
}

/// The router logits that bring a token to its k experts: from `amplitude` down to a little above
/// half of it for these, 0 for all others.
inline void write_logits(std::int32_t const* experts, std::int64_t k, std::int64_t n,
                         float amplitude, float* logits) {
  std::fill_n(logits, n, 0.0f);
  for (std::int64_t j = 0; j < k; ++j)
    logits[experts[j]] = amplitude * (1.0f - static_cast<float>(j) / static_cast<float>(2 * k));
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
