// Tokens are gathered by expert, so that each expert's weights are read once for a group of its
// tokens: gather, gate and up, down, weighted sum.
// Equation: products as in panel_product.hpp; the sum over a token's choices is one chain, from 0,
//   by falling weight
// Shapes: workspace: T k (2 d + 2 F) floats with k choices a token, less where activations are
//   packed narrower
// Cost: threads share experts and their groups, then (expert, panel) twice, then tokens
// Test: tests/unit/ops/routing/experts_test.cpp, tests/unit/ops/linear/precision_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/routing/experts.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

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
#include <plait/ops/linear/gated_linear_cpu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <dtype Stored, dtype Activations>
struct experts_kernel {
  static void run(exec::host& exec, matrix_view<float const> x, routing<float> const& plan,
                  panel_matrix<Stored> const& gate, panel_matrix<Stored> const& up,
                  panel_matrix<Stored> const& down, matrix_view<float> y) {
    std::int64_t const d = x.cols(), f = gate.rows(), choices = plan.expert.cols(),
                       rows = x.rows() * choices;
    if (rows == 0) return;
    arena::frame const scratch(exec.workspace);
    panels::packed_rows<Activations> const gathered(exec, rows, d), packed(exec, rows, f);
    matrix_view<float> const hidden = exec.template matrix<float>(rows, f),
                             outputs = exec.template matrix<float>(rows, d);

    pack(exec, plan, gathered, d, [&](std::int64_t row) { return x.row(plan.token[row]); });
    for_runs(exec, plan, gate.panels(),
             [&](std::int64_t e, std::int64_t p, panels::group_runs const& runs, std::int64_t run) {
               panels::multiply_gated<Stored, Activations>(gate, up, e, p, gathered, plan.first[e],
                                                           runs, run, hidden);
             });
    pack(exec, plan, packed, f, [&](std::int64_t row) { return hidden.row(row); });
    for_runs(
        exec, plan, panels::items<Stored, Activations>(down),
        [&](std::int64_t e, std::int64_t item, panels::group_runs const& runs, std::int64_t run) {
          panels::multiply_item<Stored, Activations>(down, e, item, packed, plan.first[e], runs,
                                                     run, nullptr, outputs);
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

  /// Packs every expert's rows, a group of them an item.
  template <class RowOf>
  static void pack(exec::host& exec, routing<float> const& plan,
                   panels::packed_rows<Activations> const& packed, std::int64_t k,
                   RowOf const& row_of) {
    std::int64_t const threads = exec.threads();  // each takes its share of every expert's groups
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

  /// Calls body(expert, item, runs, run) for every expert and item of its matrix, run by run of the
  /// expert's groups. Threads take
  /// items as they come, so that an expert with many tokens holds up nobody.
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

template <dtype Stored, dtype Activations>
void experts_cpu<Stored, Activations>::run(exec::host& exec, matrix_view<float const> x,
                                           routing<float> const& plan,
                                           panel_matrix<Stored> const& gate,
                                           panel_matrix<Stored> const& up,
                                           panel_matrix<Stored> const& down, matrix_view<float> y) {
  experts_kernel<Stored, Activations>::run(exec, x, plan, gate, up, down, y);
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
