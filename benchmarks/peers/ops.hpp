// Shared by the comparisons of single ops: turns of two sides in one process, and inputs.
#pragma once

#include "side.hpp"

#include <plait/plait.hpp>

namespace side {

/// Seconds per call of each side, in turns: medians of `turns` measurements, each of as many calls
/// as take about 20 ms.
template <class A, class B>
std::pair<double, double> in_turns(int turns, A&& a, B&& b) {
  auto const calls_of = [](auto& work) {
    work();
    double const once = seconds(work);
    return std::max(1, static_cast<int>(0.02 / std::max(once, 1e-9)));
  };
  auto const seconds_per_call = [](auto& work, int calls) {
    return seconds([&] {
             for (int i = 0; i < calls; ++i) work();
           }) /
           calls;
  };
  int const calls_a = calls_of(a), calls_b = calls_of(b);
  std::vector<double> of_a, of_b;
  for (int i = 0; i < turns; ++i) {
    of_a.push_back(seconds_per_call(a, calls_a));
    of_b.push_back(seconds_per_call(b, calls_b));
  }
  std::nth_element(of_a.begin(), of_a.begin() + turns / 2, of_a.end());
  std::nth_element(of_b.begin(), of_b.begin() + turns / 2, of_b.end());
  return {of_a[static_cast<std::size_t>(turns / 2)], of_b[static_cast<std::size_t>(turns / 2)]};
}

/// Uniform numbers in [low, high).
inline void fill(float* data, std::int64_t count, float low, float high, std::uint32_t seed) {
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    data[i] = low + (high - low) * static_cast<float>(state >> 8) * 0x1p-24f;
  }
}

/// Reserves the workspace of `work`.
template <class Exec, class Work>
void reserve(Exec& exec, Work&& work) {
  exec.workspace.reserve(exec.workspace.measure(work));
}

/// max|a - b| / max|b|.
inline double difference(float const* a, float const* b, std::int64_t n) {
  double off = 0, largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    off = std::max(off, std::abs(double{a[i]} - double{b[i]}));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return off / largest;
}

}  // namespace side
