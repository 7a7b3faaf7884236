// experts on a device.
//
// Few choices: gate, up and SwiGLU of all experts in one launch, down in another, then the weighted
// sum. Which block works for which expert is found by the blocks (gemm_skinny.hpp, find_group), so
// that nothing has to be known here: that is the way, too, of every decode step. Many choices: rows
// are gathered by expert, how many each has is fetched, and a library multiplies expert by expert.
// Blocks find out for which expert they work from the plan on the device, so nothing is fetched,
// and an expert without tokens is not read. A decode step (exec/device.hpp) always goes the first
// way.
// Equation: y[t] = fma(weight[t, K - 1], output of choice K - 1, ...), from choice 0 on. Hidden
//   values are rounded to bf16. Outputs of experts are f32 where choices are few, bf16 where they
//   are many
// Shapes: few: on average at most `max_skinny_choices` choices an expert. At most 4096 grouped rows
//   of hidden values are in memory at once
// Cost: few: each expert's weights once for every 8, 16, 32 or 64 of its rows (half as many again
//   as the average is what the group is made for), groups of one expert at the same time, so that
//   all but one come from the L2 cache. Many: int8 weights are written as bf16 and read
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

/// Up to how many choices an expert, on average, gemm_skinny is the way: most of a long call is
/// faster
/// by a library, which then must not be asked for one expert's few rows at a time.
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
      plain(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), y);
    } else if (x.rows() * plan.expert.cols() <= max_skinny_choices<Stored> * plan.num_experts) {
      auto const outputs =
          exec.template matrix<float>(x.rows() * plan.expert.cols(), padded(down.rows()));
      few(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), outputs, y);
    } else {
      // The same memory either way.
      std::int64_t const rows = x.rows() * plan.expert.cols();
      auto const gathered = exec.template matrix<T>(rows, padded(x.cols()));
      if (exec.in_step())
        few(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), gathered, y);
      else
        many(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), gathered, y);
      if (exec.workspace.measuring())
        few(exec, x, plan, gate.device_view(), up.device_view(), down.device_view(), gathered, y);
    }
  }

 private:
  /// Grouped rows whose hidden values are in memory at once.
  static constexpr std::int64_t max_rows_per_block = 4096;

  /// Values of a row whose next one is aligned.
  static std::int64_t padded(std::int64_t cols) { return (cols + 7) / 8 * 8; }

  template <class X>
  static void add_up(device& exec, matrix_view<X const> x, routing<float> const& plan, bool grouped,
                     matrix_view<T> y) {
    using kernel = kernels::combine<X, T>;
    std::int64_t const pieces =
        std::min<std::int64_t>((y.cols() + kernel::threads * kernels::vector_elements - 1) /
                                   (kernel::threads * kernels::vector_elements),
                               64);
    typename kernel::args args{
        x, matrix_view<float const>(plan.weight), {}, y, plan.expert.cols(), y.cols()};
    if (grouped) args.place = matrix_view<std::int32_t const>(plan.place);
    exec.template launch<kernel>({.x = y.rows(), .y = pieces}, args);
  }

  static void plain(device& exec, matrix_view<T const> x, routing<float> const& plan,
                    device_weights<dtype::f32> const& gate, device_weights<dtype::f32> const& up,
                    device_weights<dtype::f32> const& down, matrix_view<T> y) {
    std::int64_t const rows = x.rows() * plan.expert.cols();
    auto const gates = exec.template matrix<T>(rows, gate.rows),
               hidden = exec.template matrix<T>(rows, gate.rows);
    auto const outputs = exec.template matrix<float>(rows, down.rows);
    matrix_view<std::int32_t const> const expert = plan.expert;
    gemm_f32(exec, x, gate, nullptr, gates, expert);
    gemm_f32(exec, x, up, nullptr, hidden, expert);
    update_rows<kernels::update::gate>(exec, gates, hidden);
    gemm_f32(exec, matrix_view<T const>(hidden), down, nullptr, outputs, expert, true);
    add_up<float>(exec, outputs, plan, false, y);
  }

  /// Output: float, or T where memory would be too much.
  template <dtype Stored, class Output>
  static void few(device& exec, matrix_view<T const> x, routing<float> const& plan,
                  device_weights<Stored> const& gate, device_weights<Stored> const& up,
                  device_weights<Stored> const& down, matrix_view<Output> outputs,
                  matrix_view<T> y) {
    arena::frame const scratch(exec.workspace);
    std::int64_t const all = outputs.rows(), f = gate.rows;
    auto const rows = aligned_rows(exec, x);
    auto const hidden = exec.template matrix<T>(std::min(all, max_rows_per_block), padded(f));
    // So many groups that an expert with half as many rows again as the average reads its weights
    // once.
    std::int64_t const expected =
        all <= 8 ? all : std::max<std::int64_t>(8, 3 * all / (2 * plan.num_experts));
    for (std::int64_t begin = 0; begin < all; begin += max_rows_per_block) {
      kernels::gemm_skinny_args<Stored> args;
      args.up = up;
      args.x = rows.data();
      args.x_stride = rows.stride();
      args.first = plan.first;
      args.token = plan.token;
      args.experts = plan.num_experts;
      args.begin = args.y_from = begin;
      args.end = std::min(begin + max_rows_per_block, all);
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
    add_up<Output>(exec, outputs, plan, true, y);
  }

  template <dtype Stored>
  static void many(device& exec, matrix_view<T const> x, routing<float> const& plan,
                   device_weights<Stored> const& gate, device_weights<Stored> const& up,
                   device_weights<Stored> const& down, matrix_view<T> gathered, matrix_view<T> y) {
    arena::frame const scratch(exec.workspace);
    std::int64_t const all = gathered.rows(), d = x.cols(),
                       chunk = std::min(x.rows(), max_rows_per_block);
    auto const gates = exec.template matrix<T>(chunk, padded(gate.rows)),
               hidden = exec.template matrix<T>(chunk, padded(gate.rows));
    library_gemm<Stored> const product(exec, gate, down);
    exec.template launch<kernels::gather_rows<T, std::int32_t>>({.x = all},
                                                                {x, plan.token, gathered, d, d});
    if (exec.workspace.measuring()) return;
    std::vector<std::int32_t> first(static_cast<std::size_t>(plan.num_experts) + 1);
    exec.runtime.copy_to_host(first.data(), plan.first,
                              static_cast<std::int64_t>(first.size() * sizeof(std::int32_t)));
    for (std::int64_t e = 0; e < plan.num_experts; ++e) {
      std::int64_t const end = first[static_cast<std::size_t>(e) + 1];
      for (std::int64_t row = first[static_cast<std::size_t>(e)]; row < end; row += chunk) {
        std::int64_t const rows = std::min(chunk, end - row);
        auto const its = gathered.middle_rows(row, rows).middle_cols(0, d);
        auto const g = gates.middle_rows(0, rows).middle_cols(0, gate.rows),
                   h = hidden.middle_rows(0, rows).middle_cols(0, gate.rows);
        product.multiply(exec, matrix_view<T const>(its), gate.copy(e), g);
        product.multiply(exec, matrix_view<T const>(its), up.copy(e), h);
        update_rows<kernels::update::gate>(exec, g, h);
        product.multiply(exec, matrix_view<T const>(h), down.copy(e),
                         its);  // over the rows that went in, which are as long
      }
    }
    add_up<T>(exec, gathered.middle_cols(0, d), plan, true, y);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
