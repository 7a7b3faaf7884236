// experts on the CPU: rows grouped by expert, so that the weights of an expert are read once per
// group of its tokens; gate and up, down, then the weighted sum.
// Equation: products as in cpu/panel_product.hpp; the sum over the choices of a token is one chain,
//   from 0, in descending order of weight
// Shapes: workspace: T k (2 d + 2 F) floats with k choices per token, less where activations are
//   packed as bf16 or int8
// Cost: threads share experts and their row groups, then (expert, panel) twice, then tokens
// Test: tests/unit/ops/routing/experts_test.cpp, tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/routing/experts.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// experts for one type of stored weights and one of packed activations.
template <dtype Stored, dtype Activations>
struct experts_cpu {
  static void run(exec::host& exec, matrix_view<float const> x, routing<float> const& plan,
                  panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                  panel_matrix<Stored> const& down, matrix_view<float> y);
};

template <precision P>
struct experts_op<exec::cpu<P>> {
  template <dtype Stored>
  static void run(exec::cpu<P>& exec, matrix_view<float const> x, routing<float> const& plan,
                  panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                  panel_matrix<Stored> const& down, matrix_view<float> y) {
    experts_cpu<Stored, activation_type(Stored, exec::cpu<P>::compute)>::run(exec, x, plan, gate,
                                                                             up, down, y);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/ops/linear/multiply_gated_cpu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {
namespace detail {

template <dtype Stored, dtype Activations>
struct experts_kernel {
  static void run(exec::host& exec, matrix_view<float const> x, routing<float> const& plan,
                  panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                  panel_matrix<Stored> const& down, matrix_view<float> y) {
    std::int64_t const d = x.cols();
    std::int64_t const f = gate.rows();
    std::int64_t const choices = plan.expert.cols();
    std::int64_t const rows = x.rows() * choices;
    if (rows == 0) return;
    arena::frame const scratch(exec.workspace);
    panels::packed_rows<Activations> const packed_x(exec, rows, d), packed_hidden(exec, rows, f);
    matrix_view<float> const hidden = exec.template matrix<float>(rows, f);
    matrix_view<float> const outputs = exec.template matrix<float>(rows, d);

    pack(exec, plan, packed_x, d, [&](std::int64_t row) { return x.row(plan.token[row]); });
    for_runs(exec, plan, gate.panels(),
             [&](std::int64_t e, std::int64_t p, panels::group_runs const& runs, std::int64_t run) {
               panels::multiply_gated<Stored, Activations>(gate, up, e, p, packed_x, plan.first[e],
                                                           runs, run, hidden);
             });
    pack(exec, plan, packed_hidden, f, [&](std::int64_t row) { return hidden.row(row); });
    for_runs(
        exec, plan, panels::items<Stored, Activations>(down),
        [&](std::int64_t e, std::int64_t item, panels::group_runs const& runs, std::int64_t run) {
          panels::multiply_item<Stored, Activations>(down, e, item, packed_hidden, plan.first[e],
                                                     runs, run, nullptr, outputs);
        });
    exec.parallel(x.rows(), exec.grain(x.rows()), [&](std::int64_t t, int) {
      simd::for_each_packet(d, [&](std::int64_t c, std::int64_t count) {
        simd::packet sum = simd::set(0.0f);
        for (std::int64_t j = 0; j < choices; ++j)
          sum = simd::fma(simd::set(plan.weight(t, j)),
                          simd::load(outputs.row(plan.place(t, j)) + c, count), sum);
        simd::store(y.row(t) + c, sum, count);
      });
    });
  }

 private:
  static panels::row_groups groups_of(routing<float> const& plan, std::int64_t e) {
    return {plan.first[e + 1] - plan.first[e], panels::max_rows(Activations)};
  }

  /// Packs the rows of every expert. A work item is an expert and one of `threads` shares of its
  /// row groups.
  template <class RowOf>
  static void pack(exec::host& exec, routing<float> const& plan,
                   panels::packed_rows<Activations> const& packed, std::int64_t k,
                   RowOf const& row_of) {
    std::int64_t const threads = exec.threads();
    std::int64_t const items = plan.num_experts * threads;
    exec.parallel(items, plan.expert.rows() * plan.expert.cols() < 8 ? items : 1,
                  [&](std::int64_t item, int) {
                    std::int64_t const e = item / threads;
                    panels::row_groups const groups = groups_of(plan, e);
                    for (std::int64_t g = item % threads; g < groups.count(); g += threads) {
                      std::int64_t const row = plan.first[e] + groups.first(g);
                      panels::pack_group<Activations>(
                          [&](std::int64_t m) { return row_of(row + m); }, groups.size(g), k,
                          packed.at(row), packed.scale(row));
                    }
                  });
  }

  /// Calls body(expert, item, runs, run) for every expert and item of its matrix, run by run of its
  /// row groups. Work is scheduled dynamically, so that an expert with many tokens delays no other.
  template <class Body>
  static void for_runs(exec::host& exec, routing<float> const& plan, std::int64_t items_per_matrix,
                       Body const& body) {
    exec.parallel(plan.num_experts * items_per_matrix,
                  exec.grain(plan.num_experts * items_per_matrix) / 4 + 1,
                  [&](std::int64_t item, int) {
                    std::int64_t const e = item / items_per_matrix, p = item % items_per_matrix;
                    panels::group_runs const runs{groups_of(plan, e)};
                    for (std::int64_t run = 0; run < runs.count(); ++run) body(e, p, runs, run);
                  });
  }
};

}  // namespace detail

template <dtype Stored, dtype Activations>
void experts_cpu<Stored, Activations>::run(exec::host& exec, matrix_view<float const> x,
                                           routing<float> const& plan,
                                           panel_matrix<Stored> const& gate,
                                           panel_matrix<Stored> const& up,
                                           panel_matrix<Stored> const& down, matrix_view<float> y) {
  detail::experts_kernel<Stored, Activations>::run(exec, x, plan, gate, up, down, y);
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
