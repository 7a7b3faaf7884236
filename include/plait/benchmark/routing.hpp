// The distribution of tokens over experts, constructed rather than left to random weights.
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

/// The distribution of tokens over n experts, where each token chooses k.
///
/// - `random`: that of random weights and inputs
/// - `balanced`: every expert has as many tokens as any other
/// - `zipf`: uneven, as a share in proportion to 1 / (e + 1) of expert e
/// - `one`: all tokens have the same k experts
/// Test: tests/unit/benchmark/routing_test.cpp
enum class routing : unsigned char { random, balanced, zipf, one };

/// The word in a benchmark's name.
constexpr char const* name_of(routing r) {
  return r == routing::random     ? "random"
         : r == routing::balanced ? "balanced"
         : r == routing::zipf     ? "zipf"
                                  : "one";
}

/// The share of tokens that choose each of n experts.
/// Equation: balanced: k / n; zipf: in proportion to 1 / (e + 1), at most 1; one: 1 of the first k;
///   random: its expectation, k / n. They add up to k
/// Shapes: [n], values in [0, 1]
/// Test: tests/unit/benchmark/routing_test.cpp
inline std::vector<double> expert_shares(routing r, std::int64_t n, std::int64_t k) {
  std::vector<double> share(static_cast<std::size_t>(n));
  if (r != routing::zipf) {
    for (std::int64_t e = 0; e < n; ++e)
      share[static_cast<std::size_t>(e)] =
          r == routing::one ? (e < k ? 1.0 : 0.0) : double(k) / double(n);
    return share;
  }
  // No share exceeds 1: the first `full` experts have all tokens, and the others the remaining
  // choices in proportion.
  for (std::int64_t full = 0; full < n; ++full) {
    double sum = 0;
    for (std::int64_t e = full; e < n; ++e) sum += 1 / double(e + 1);
    for (std::int64_t e = 0; e < n; ++e)
      share[static_cast<std::size_t>(e)] = e < full ? 1.0 : double(k - full) / sum / double(e + 1);
    if (share[static_cast<std::size_t>(full)] <= 1) break;
  }
  return share;
}

/// The experts assigned to each token. A token takes the k experts that are furthest below their
/// share (the first of equals), so that the tokens of any prefix are distributed as all of them,
/// within two tokens per expert. Not for random, which assigns none.
/// Shapes: [tokens, k], in descending order of weight
/// Test: tests/unit/benchmark/routing_test.cpp
inline std::vector<std::int32_t> assigned_experts(routing r, std::int64_t n, std::int64_t k,
                                                  std::int64_t tokens) {
  struct candidate {
    double share;
    std::int32_t expert;
    std::int64_t tokens;
    std::int64_t deficit;  // in millionths of a token: equal shares stay equal despite rounding
  };
  std::vector<candidate> candidates;
  for (double const share : expert_shares(r, n, k))
    candidates.push_back({share, static_cast<std::int32_t>(candidates.size()), 0, 0});
  std::vector<std::int32_t> assigned;
  assigned.reserve(static_cast<std::size_t>(tokens * k));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (candidate& c : candidates)
      c.deficit = std::llround(1e6 * (c.share * double(t + 1) - double(c.tokens)));
    std::partial_sort(candidates.begin(), candidates.begin() + k, candidates.end(),
                      [](candidate const& a, candidate const& b) {
                        return a.deficit != b.deficit ? a.deficit > b.deficit : a.expert < b.expert;
                      });
    for (std::int64_t j = 0; j < k; ++j) {
      candidate& c = candidates[static_cast<std::size_t>(j)];
      assigned.push_back(c.expert);
      ++c.tokens;
    }
  }
  return assigned;
}

/// The number of experts that `tokens` tokens reach together; for random its expectation, 0 for a
/// policy that does not route.
/// Test: tests/unit/benchmark/routing_test.cpp
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
    // 64 tokens per expert reach every expert with a share, since the smallest exceeds
    // 1 / (n (1 + ln n)).
    std::int64_t const enough = std::min<std::int64_t>(tokens, std::int64_t{64} * p.num_experts);
    for (std::int32_t const e : assigned_experts(r, p.num_experts, p.top_k, enough)) {
      count += reached[static_cast<std::size_t>(e)] == 0;
      reached[static_cast<std::size_t>(e)] = 1;
    }
    return count;
  } else {
    return 0;
  }
}

/// Writes router logits that choose the given experts: from `amplitude` down to a little above half
/// of it, in their order; 0 for all others.
/// Shapes: experts [k], logits [n]
/// Test: tests/unit/benchmark/routing_test.cpp
inline void write_logits(std::int32_t const* experts, std::int64_t k, std::int64_t n,
                         float amplitude, float* logits) {
  std::fill_n(logits, n, 0.0f);
  for (std::int64_t j = 0; j < k; ++j)
    logits[experts[j]] = amplitude * (1.0f - static_cast<float>(j) / static_cast<float>(2 * k));
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
