// experts on a device.
//
// Few choices per expert: one launch for gate, up and SwiGLU of all experts, one for down, then the
// weighted sum. Blocks find their expert from the plan on the device (find_group,
// gpu/gemm/gemm_skinny.hpp), so that the host needs no counts, and an expert without tokens is not
// read. Many choices: rows are gathered by expert, the host fetches the counts, and the library
// multiplies expert by expert. A decode step (exec/device.hpp) must not fetch, and always takes the
// first way.
// Equation: y[t] = fma(weight[t, k - 1], output of choice k - 1, ...), from choice 0 upwards.
//   Hidden values are rounded to bf16. Outputs of experts are f32 with few choices, bf16 with many
// Shapes: few: on average at most `max_skinny_choices` choices per expert. At most 4096 grouped
//   rows of hidden values are in memory at a time
// Cost: few: the weights of an expert are read once per 8, 16, 32 or 64 of its rows, a group size
//   that fits half as many rows again as the average; groups of one expert run at the same time, so
//   that all but one read the L2 cache. Many: int8 weights are written as bf16, then read
// Test: tests/unit/ops/routing/experts_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/elementwise.hpp>
#include <plait/ops/linear/gated_linear_gpu.hpp>
#include <plait/ops/routing/experts.hpp>
#include <plait/ops/routing/gpu/combine_experts.hpp>
#include <plait/ops/rows/gather_rows_gpu.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The largest average number of choices per expert for which gemm_skinny is used. Most long calls
/// are faster by a library, but not with a few rows per expert.
template <dtype Stored>
inline constexpr std::int64_t max_skinny_choices = max_skinny_rows<Stored> / 2;

template <precision P, class Runtime>
struct experts_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <dtype Stored, class Memory>
  static void run(device& exec, matrix_view<T const> x, routing<float> const& plan,
                  device_matrix<Stored, Memory> const& gate,
                  device_matrix<Stored, Memory> const& up,
                  device_matrix<Stored, Memory> const& down, matrix_view<T> y) {
    if (x.rows() == 0) return;
    arena::frame const scratch(exec.workspace);
    if constexpr (Stored == dtype::f32) {
      by_gemm_f32(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), y);
    } else if (x.rows() * plan.expert.cols() <= max_skinny_choices<Stored> * plan.num_experts) {
      auto const outputs =
          exec.template matrix<float>(x.rows() * plan.expert.cols(), padded(down.rows()));
      by_gemm_skinny(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(),
                     outputs, y);
    } else {
      // Both ways use this memory. Measuring runs both, as a decode step takes the other one.
      std::int64_t const rows = x.rows() * plan.expert.cols();
      auto const gathered = exec.template matrix<T>(rows, padded(x.cols()));
      if (exec.in_step())
        by_gemm_skinny(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(),
                       gathered, y);
      else
        by_library(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(),
                   gathered, y);
      if (exec.workspace.measuring())
        by_gemm_skinny(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(),
                       gathered, y);
    }
  }

 private:
  /// Grouped rows whose hidden values are in memory at a time.
  static constexpr std::int64_t max_hidden_rows = 4096;

  /// Columns rounded up, so that the next row is aligned too.
  static std::int64_t padded(std::int64_t cols) { return (cols + 7) / 8 * 8; }

  template <class X>
  static void combine(device& exec, matrix_view<X const> x, routing<float> const& plan,
                      bool grouped, matrix_view<T> y) {
    using kernel = kernels::combine_experts<X, T>;
    std::int64_t const pieces =
        std::min<std::int64_t>((y.cols() + kernel::threads * kernels::vector_elements - 1) /
                                   (kernel::threads * kernels::vector_elements),
                               64);
    typename kernel::args args{
        x, matrix_view<float const>(plan.weight), {}, y, plan.expert.cols(), y.cols()};
    if (grouped) args.place = matrix_view<std::int32_t const>(plan.place);
    exec.template launch<kernel>({.x = y.rows(), .y = pieces}, args);
  }

  static void by_gemm_f32(device& exec, matrix_view<T const> x, routing<float> const& plan,
                          device_weights<dtype::f32> const& gate,
                          device_weights<dtype::f32> const& up,
                          device_weights<dtype::f32> const& down, matrix_view<T> y) {
    std::int64_t const rows = x.rows() * plan.expert.cols();
    auto const gates = exec.template matrix<T>(rows, gate.rows);
    auto const hidden = exec.template matrix<T>(rows, gate.rows);
    auto const outputs = exec.template matrix<float>(rows, down.rows);
    matrix_view<std::int32_t const> const expert = plan.expert;
    gemm_f32(exec, x, gate, nullptr, gates, expert);
    gemm_f32(exec, x, up, nullptr, hidden, expert);
    update_rows<kernels::update::gate>(exec, gates, hidden);
    gemm_f32(exec, matrix_view<T const>(hidden), down, nullptr, outputs, expert, true);
    combine<float>(exec, outputs, plan, false, y);
  }

  /// Output is float, or T where float would need too much memory.
  template <dtype Stored, class Output>
  static void by_gemm_skinny(device& exec, matrix_view<T const> x, routing<float> const& plan,
                             device_weights<Stored> const& gate, device_weights<Stored> const& up,
                             device_weights<Stored> const& down, matrix_view<Output> outputs,
                             matrix_view<T> y) {
    arena::frame const scratch(exec.workspace);
    std::int64_t const total_rows = outputs.rows(), f = gate.rows;
    auto const rows = aligned_rows(exec, x);
    auto const hidden = exec.template matrix<T>(std::min(total_rows, max_hidden_rows), padded(f));
    // Groups are sized so that an expert with half as many rows again as the average reads its
    // weights once.
    std::int64_t const expected =
        total_rows <= 8 ? total_rows
                        : std::max<std::int64_t>(8, 3 * total_rows / (2 * plan.num_experts));
    for (std::int64_t begin = 0; begin < total_rows; begin += max_hidden_rows) {
      kernels::gemm_skinny_args<Stored> args;
      args.up = up;
      args.x = rows.data();
      args.x_stride = rows.stride();
      args.first = plan.first;
      args.token = plan.token;
      args.experts = plan.num_experts;
      args.begin = args.y_from = begin;
      args.end = std::min(begin + max_hidden_rows, total_rows);
      args.outputs[0] = {gate, nullptr, hidden.data(), hidden.stride(), hidden.cols()};
      launch_gemm_skinny<Stored, true>(exec, args, expected);
      args.y_is_float = std::is_same_v<Output, float>;
      args.x = hidden.data();
      args.x_stride = hidden.stride();
      args.token = nullptr;
      args.y_from = 0;
      args.outputs[0] = {down, nullptr, outputs.data(), outputs.stride()};
      launch_gemm_skinny<Stored, false>(exec, args, expected);
    }
    combine<Output>(exec, outputs, plan, true, y);
  }

  template <dtype Stored>
  static void by_library(device& exec, matrix_view<T const> x, routing<float> const& plan,
                         device_weights<Stored> const& gate, device_weights<Stored> const& up,
                         device_weights<Stored> const& down, matrix_view<T> gathered,
                         matrix_view<T> y) {
    arena::frame const scratch(exec.workspace);
    std::int64_t const total_rows = gathered.rows();
    std::int64_t const d = x.cols();
    std::int64_t const chunk = std::min(x.rows(), max_hidden_rows);
    auto const gates = exec.template matrix<T>(chunk, padded(gate.rows));
    auto const hidden = exec.template matrix<T>(chunk, padded(gate.rows));
    library_gemm<Stored> const product(exec, gate, down);
    exec.template launch<kernels::gather_rows<T, std::int32_t>>({.x = total_rows},
                                                                {x, plan.token, gathered, d, d});
    if (exec.workspace.measuring()) return;
    std::vector<std::int32_t> first(static_cast<std::size_t>(plan.num_experts) + 1);
    exec.runtime.copy_to_host(first.data(), plan.first,
                              static_cast<std::int64_t>(first.size() * sizeof(std::int32_t)));
    for (std::int64_t e = 0; e < plan.num_experts; ++e) {
      std::int64_t const end = first[static_cast<std::size_t>(e) + 1];
      for (std::int64_t row = first[static_cast<std::size_t>(e)]; row < end; row += chunk) {
        std::int64_t const rows = std::min(chunk, end - row);
        auto const expert_rows = gathered.middle_rows(row, rows).middle_cols(0, d);
        auto const g = gates.middle_rows(0, rows).middle_cols(0, gate.rows);
        auto const h = hidden.middle_rows(0, rows).middle_cols(0, gate.rows);
        product.multiply(exec, matrix_view<T const>(expert_rows), gate.copy(e), g);
        product.multiply(exec, matrix_view<T const>(expert_rows), up.copy(e), h);
        update_rows<kernels::update::gate>(exec, g, h);
        // The output overwrites the input of the expert, which has the same shape.
        product.multiply(exec, matrix_view<T const>(h), down.copy(e), expert_rows);
      }
    }
    combine<T>(exec, gathered.middle_cols(0, d), plan, true, y);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
