// Packed rows of x times the panels of a linear map, in work items that threads share.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/view.hpp>
#include <plait/cpu/accumulators.hpp>
#include <plait/cpu/microkernels.hpp>
#include <plait/cpu/pack_rows.hpp>
#include <plait/cpu/panel_format.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/cpu/row_format.hpp>
#include <plait/cpu/row_groups.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// Writes `count` columns of a row of sums.
inline void copy_columns(float const* sums, float* y, std::int64_t count) {
  simd::store(y, simd::load(sums), count);
  if (count > width) simd::store(y + width, simd::load(sums + width), count - width);
}

/// Row groups in runs: a run is one thread's work on one panel. A run is long enough to amortise
/// reading the panel from memory, and short enough for its packed rows to stay in the L2 cache
/// while the thread multiplies them with one panel after the other.
struct group_runs {
  static constexpr std::int64_t max_groups = 16;  ///< groups of a run
  row_groups groups;
  std::int64_t groups_per_run = max_groups;
  constexpr std::int64_t count() const {
    return (groups.count() + groups_per_run - 1) / groups_per_run;
  }
  constexpr std::int64_t first(std::int64_t run) const { return run * groups_per_run; }
  constexpr std::int64_t end(std::int64_t run) const {
    return std::min(groups.count(), first(run + 1));
  }
};

/// Sums of one panel for the groups of a run: [row][panel], row 0 is the first row of the run.
template <dtype Activations>
struct panel_sums {
  alignas(64) float values[group_runs::max_groups * max_rows(Activations) * panel];
  float* row(std::int64_t r) { return values + r * panel; }
};

/// One panel times groups [first, end) of packed rows of k values, plus the `count` values of bias,
/// which may be null.
///
/// The panel is cut into pieces, each of which stays in the L1 cache while all groups are
/// multiplied with it. Between pieces a group's sums are in memory; the next piece continues them,
/// so that each output is still one chain over k.
/// Source: packed panels and register tiles: Goto and van de Geijn, Anatomy of High-Performance
///   Matrix Multiplication, ACM TOMS 34 (2008)
template <dtype Stored, dtype Activations>
void multiply_groups(std::byte const* weights, packed_rows<Activations> const& x,
                     std::int64_t first_row, row_groups const& groups, std::int64_t first,
                     std::int64_t end, std::int64_t k, float const* bias, std::int64_t count,
                     panel_sums<Activations>& sums) {
  using weight_format = panel_format<Stored>;
  constexpr bool scaled = Activations == dtype::int8;
  std::int64_t const before = groups.first(first);
  std::int64_t const rows = groups.first(end) - before;
  accumulators<1> start;
  accumulators<1> zero;
  start.start(bias, count);
  zero.start();
  for (std::int64_t r = 0; r < rows; ++r) (scaled ? zero : start).store(sums.row(r));
  constexpr std::int64_t steps_per_piece =
      std::max<std::int64_t>(1, 24576 / weight_format::step_bytes);
  std::int64_t const steps = (k + weight_format::step - 1) / weight_format::step;
  // Pieces of nearly equal size.
  std::int64_t const pieces =
      end - first == 1 ? 1
                       : std::max<std::int64_t>(1, (steps + steps_per_piece / 2) / steps_per_piece);
  std::int64_t const piece = (steps + pieces - 1) / pieces * weight_format::step;
  for (std::int64_t from = 0; from < k; from += piece)
    for (std::int64_t g = first; g < end; ++g)
      kernel_of<Stored, Activations>(groups.size(g))(
          sums.row(groups.first(g) - before),
          weights + from / weight_format::step * weight_format::step_bytes,
          x.at(first_row + groups.first(g)) + row_format<Activations>::words(from) * groups.size(g),
          std::min(piece, k - from));
  if constexpr (scaled)
    for (std::int64_t r = 0; r < rows; ++r) {
      packet const scale = simd::set(*x.scale(first_row + before + r));
      for (int h = 0; h < 2; ++h)
        simd::store(sums.row(r) + h * width,
                    simd::fma(simd::load(sums.row(r) + h * width), scale, start.sum[0][h]));
    }
}

/// Panels of a work item: two where the microkernel computes pairs.
template <dtype Stored, dtype Activations>
inline constexpr std::int64_t panels_per_item = microkernel<Stored, Activations>::pairs ? 2 : 1;

/// Work items of a matrix.
template <dtype Stored, dtype Activations>
constexpr std::int64_t items(panel_matrix<Stored> const& w) {
  return (w.panels() + panels_per_item<Stored, Activations> - 1) /
         panels_per_item<Stored, Activations>;
}

/// Writes y = x w^T (+ bias) for the panels of work item `item` of copy `copy` (expert) of w and
/// the row groups of run `run`. Row `first_row` of x and y is the first row of the groups; bias has
/// a value per row of w, or is null.
/// Equation: one chain of fused multiply-adds per output, over k upwards, from the bias or 0, for
///   any number of rows: prefill, chunks and decode give the same bits. int8 by int8: the chain of
///   scaled integer sums is multiplied by the row's scale and added to the bias
/// Shapes: w as cpu/panel_matrix.hpp, x as cpu/pack_rows.hpp. A run has at most 16 groups
/// Cost: each panel is read from memory once per run; within a run 24 KiB of it stay in the L1
///   cache for all groups, with a load and a store of each sum for about 200 multiply-adds
/// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp,
///   tests/unit/model/isa_probe.cpp
template <dtype Stored, dtype Activations>
void multiply_item(panel_matrix<Stored> const& w, std::int64_t copy, std::int64_t item,
                   packed_rows<Activations> const& x, std::int64_t first_row,
                   group_runs const& runs, std::int64_t run, float const* bias,
                   matrix_view<float> y) {
  std::int64_t const first = runs.first(run);
  std::int64_t const end = runs.end(run);
  std::int64_t const before = runs.groups.first(first);
  auto const count = [&](std::int64_t p) {
    return std::min<std::int64_t>(panel, w.rows() - p * panel);
  };
  auto const bias_of = [&](std::int64_t p) { return bias != nullptr ? bias + p * panel : nullptr; };
  std::int64_t const p = item * panels_per_item<Stored, Activations>;
  std::int64_t const p_end = std::min(w.panels(), p + panels_per_item<Stored, Activations>);
  if constexpr (microkernel<Stored, Activations>::pairs)
    if (runs.groups.rows == 1 && p_end - p == 2) {
      accumulators<1> t;
      accumulators<1> u;
      t.start(bias_of(p), count(p));
      u.start(bias_of(p + 1), count(p + 1));
      multiply_pair<Stored, Activations>(w.panel_data(copy, p), w.panel_data(copy, p + 1),
                                         x.at(first_row), w.cols(), t, u);
      t.write(0, y.row(first_row) + p * panel, count(p));
      u.write(0, y.row(first_row) + (p + 1) * panel, count(p + 1));
      return;
    }
  panel_sums<Activations> sums;
  for (std::int64_t i = p; i < p_end; ++i) {
    multiply_groups<Stored, Activations>(w.panel_data(copy, i), x, first_row, runs.groups, first,
                                         end, w.cols(), bias_of(i), count(i), sums);
    for (std::int64_t r = 0; r < runs.groups.first(end) - before; ++r)
      copy_columns(sums.row(r), y.row(first_row + before + r) + i * panel, count(i));
  }
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
