// Random weights of a mixture's experts.
#pragma once

#include <support/data.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace test {

/// gate and up [n][f][d], down [n][d][f], of order 1 / sqrt(columns).
struct expert_values {
  std::int64_t d, f, n;
  std::vector<float> gate, up, down;

  expert_values(random& r, std::int64_t width, std::int64_t hidden, std::int64_t count)
      : d(width),
        f(hidden),
        n(count),
        gate(r.values(n * f * d, -scale(d), scale(d))),
        up(r.values(n * f * d, -scale(d), scale(d))),
        down(r.values(n * d * f, -scale(f), scale(f))) {}
  /// Makes all weights of one expert NaN.
  void spoil(std::int64_t expert) {
    for (auto* m : {&gate, &up, &down}) std::fill_n(m->begin() + expert * f * d, f * d, nan);
  }

 private:
  static float scale(std::int64_t columns) { return 2 / std::sqrt(static_cast<float>(columns)); }
};

}  // namespace test
