// Samplers: the choice of the next token from logits.
//
// ```cpp body
// plait::sampler draw(0.8, 42);
// std::int32_t const likely = plait::sample_greedy(logits), drawn = draw(logits);
// if (likely < 0 || drawn >= 256) throw plait::error("ids are in the vocabulary");
// ```
//
// Equation: sample_greedy: the largest logit, the first of equals; sampler: a draw from
//   softmax(logits / temperature); temperature 0 is greedy
// Shapes: logits [vocab_size] of one row, not empty; the result is an id
// Errors:
//   - `sampler: temperature is …, expected 0 or more`: negative, infinite or NaN
// Cost: one exp per logit; the first draw allocates
// Test: tests/unit/io/embedded_test.cpp, tests/checks/tools/generate_test.sh
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/model/initialize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The index of the largest logit.
inline std::int32_t sample_greedy(std::span<float const> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// Draws from softmax(logits / temperature). The same seed and logits give the same tokens.
class sampler {
 public:
  explicit sampler(double temperature, std::uint64_t seed = 0)
      : temperature_(temperature), random_{detail::mix(seed, std::uint64_t{1})} {
    if (!(temperature >= 0) || std::isinf(temperature))
      throw error(sentence("sampler: temperature is {}, expected 0 or more", temperature));
  }

  std::int32_t operator()(std::span<float const> logits) {
    std::int32_t const best = sample_greedy(logits);
    if (temperature_ == 0) return best;
    p_.resize(logits.size());
    double total = 0;
    for (std::size_t i = 0; i < p_.size(); ++i)
      total += p_[i] = std::exp(
          (double{logits[i]} - double{logits[static_cast<std::size_t>(best)]}) / temperature_);
    double left = random_.uniform() * total;
    for (std::size_t i = 0; i < p_.size(); ++i)
      if ((left -= p_[i]) <= 0) return static_cast<std::int32_t>(i);
    return best;  // after rounding, or where a logit is NaN
  }

 private:
  double temperature_;
  detail::splitmix64 random_;
  std::vector<double> p_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
