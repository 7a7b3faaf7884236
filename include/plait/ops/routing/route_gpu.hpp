// route on a device: a warp per token for softmax and choices, then a stable counting sort of the
// choices by expert.
// Equation: choices, places, tokens and first rows are those of choose_top_k on the logits and of
//   group_by_expert, bit for bit
// Cost: up to 256 tokens and 512 experts one launch of one block; beyond that four launches.
//   Workspace: num_experts counts per 2048 choices
// Test: tests/unit/ops/routing/route_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/routing/gpu/route.hpp>
#include <plait/ops/routing/gpu/route_single_block.hpp>
#include <plait/ops/routing/route.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The arguments of all routing kernels, without `starts`.
inline kernels::route_args route_arguments(matrix_view<float const> logits,
                                           routing<float> const& plan, router_weights weights) {
  std::int64_t const total = logits.rows() * plan.expert.cols();
  constexpr std::int64_t choices_per_block = kernels::sort_choices<false>::choices;
  return {logits,
          static_cast<int>(logits.cols()),
          static_cast<int>(plan.expert.cols()),
          total,
          weights == router_weights::renormalised,
          plan.expert,
          plan.place,
          plan.weight,
          plan.token,
          plan.first,
          nullptr,
          (total + choices_per_block - 1) / choices_per_block};
}

template <precision P, class Runtime>
struct route_op<exec::device<P, Runtime>> {
  static void run(exec::device<P, Runtime>& exec, matrix_view<float const> logits,
                  routing<float> const& plan, router_weights weights) {
    using sort = kernels::sort_choices<false>;
    std::int64_t const tokens = logits.rows(), n = logits.cols();
    arena::frame const scratch(exec.workspace);
    kernels::route_args args = route_arguments(logits, plan, weights);
    if (tokens <= kernels::route_single_block::max_tokens &&
        n <= kernels::route_single_block::range) {
      exec.template launch<kernels::route_single_block>({}, args);
      return;
    }
    args.starts = exec.workspace.template take<std::int32_t>(n * args.blocks);
    exec.template launch<kernels::choose>(
        {.x = (tokens + kernels::choose::warps - 1) / kernels::choose::warps}, args);
    launch_grid const parts{.x = args.blocks, .y = (n + sort::range - 1) / sort::range};
    exec.template launch<kernels::sort_choices<false>>(parts, args);
    exec.template launch<kernels::start_choices>({}, args);
    exec.template launch<kernels::sort_choices<true>>(parts, args);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
