// The routing plan of one MoE call.
// Test: tests/unit/ops/routing/route_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/ops/dispatch.hpp>

#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The plan of one MoE call: route makes it, experts reads it, layers pass it on unread. Choices of
/// a token are ordered by descending weight; the grouped order has the choices of all tokens by
/// expert.
/// Shapes: with T tokens, k choices per token and n experts: expert, weight and place [T, k]; token
///   [T k]; first [n + 1]. The choices of expert e are the grouped rows [first[e], first[e + 1]),
///   tokens in order
template <class T>
struct routing {
  matrix_view<std::int32_t> expert;  ///< chosen experts, by descending weight
  matrix_view<T> weight;             ///< their weights; T is Exec::output_type
  matrix_view<std::int32_t> place;   ///< grouped row of choice j of token t
  std::int32_t* token = nullptr;     ///< token of each grouped row
  std::int32_t* first = nullptr;     ///< first grouped row of each expert
  std::int64_t num_experts = 0;
};

/// Takes the memory of a plan from the workspace.
/// Errors: thrown while a call is measured, before anything is computed:
///   - `… tokens in one call with … experts each: more choices than 2^31 - 1, so use fewer
///     tokens per call`: choices are numbered in 32 bits
template <class Exec>
routing<typename Exec::output_type> make_routing(Exec& exec, std::int64_t tokens,
                                                 std::int64_t num_experts, std::int64_t top_k) {
  if (tokens * top_k > std::numeric_limits<std::int32_t>::max())
    throw error(
        sentence("{} tokens in one call with {} experts each: more choices than 2^31 - 1, so use "
                 "fewer tokens per call",
                 tokens, top_k));
  return {exec.template matrix<std::int32_t>(tokens, top_k),
          exec.template matrix<typename Exec::output_type>(tokens, top_k),
          exec.template matrix<std::int32_t>(tokens, top_k),
          exec.workspace.template take<std::int32_t>(tokens * top_k),
          exec.workspace.template take<std::int32_t>(num_experts + 1),
          num_experts};
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
