// The grouped order of a routing plan.
// Test: tests/unit/ops/routing/route_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/routing/routing.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Fills first, place and token of a plan from its experts: a stable counting sort of all choices
/// by expert.
/// Cost: T k + n steps on one thread
template <class T>
void group_by_expert(routing<T> const& plan) {
  std::int64_t const tokens = plan.expert.rows(), k = plan.expert.cols();
  for (std::int64_t e = 0; e <= plan.num_experts; ++e) plan.first[e] = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < k; ++j) ++plan.first[plan.expert(t, j) + 1];
  for (std::int64_t e = 0; e < plan.num_experts; ++e) plan.first[e + 1] += plan.first[e];
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < k; ++j) {
      std::int32_t const row = plan.first[plan.expert(t, j)]++;
      plan.place(t, j) = row;
      plan.token[row] = static_cast<std::int32_t>(t);
    }
  for (std::int64_t e = plan.num_experts; e > 0; --e) plan.first[e] = plan.first[e - 1];
  plan.first[0] = 0;
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
