// The product all linear maps are made of: a few rows of x times one panel of weights.
//
// One accumulation chain an output, over k upwards, whether one token is computed or a thousand: that is what makes prefill, chunks and
// decode equal to the last bit. Rows are taken in groups small enough for all sums to stay in registers (after Goto and van de Geijn,
// Anatomy of High-Performance Matrix Multiplication, 2008).
#pragma once

#include <plait/core/storage.hpp>
#include <plait/core/view.hpp>
#include <plait/exec/host.hpp>
#include <plait/ops/cpu/simd.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace plait::inline PLAIT_ABI::panels {

using simd::packet;
using simd::width;

inline constexpr int panel = static_cast<int>(panel_matrix::panel);
static_assert(panel == 2 * width);

/// Rows whose two registers of sums fit beside the weights: 12 of 32 registers' worth, or 6 of 16.
inline constexpr int max_rows = width == 16 ? 12 : 6;

/// Sums of one tile: Rows rows, one panel wide.
template <int Rows>
struct tile {
  packet sum[Rows][2];

  /// Starts every chain at 0, or at the `count` values of bias.
  void start(float const* bias = nullptr, std::int64_t count = panel) {
    packet const a = bias != nullptr ? simd::load(bias, count) : simd::set(0.0f);
    packet const b = bias != nullptr && count > width ? simd::load(bias + width, count - width) : simd::set(0.0f);
    for (auto& row : sum) row[0] = a, row[1] = b;
  }
};

/// t[m] += sum_k x[k][m] * w[k], both read as streams: w has `stride` floats a row, x is [k][Rows].
template <int Rows>
[[gnu::always_inline]] inline void multiply(tile<Rows>& t, float const* w, std::int64_t stride, float const* x, std::int64_t k) {
  [&]<int... M>(std::integer_sequence<int, M...>) __attribute__((always_inline)) {
    packet low[Rows] = {t.sum[M][0]...}, high[Rows] = {t.sum[M][1]...};
    for (std::int64_t i = 0; i < k; ++i, w += stride, x += Rows) {
      packet const a = simd::load(w), b = simd::load(w + width);
      __builtin_prefetch(w + 768);  // 3 KB ahead: the hardware prefetcher stops at page ends
      if constexpr (width == 16) __builtin_prefetch(w + 768 + 16);
      ((low[M] = simd::fma(a, simd::set(x[M]), low[M]), high[M] = simd::fma(b, simd::set(x[M]), high[M])), ...);
    }
    ((t.sum[M][0] = low[M], t.sum[M][1] = high[M]), ...);
  }
  (std::make_integer_sequence<int, Rows>{});
}

/// Writes `count` columns of row m.
template <int Rows>
void write(tile<Rows> const& t, int m, float* y, std::int64_t count) {
  simd::store(y, t.sum[m][0], count);
  if (count > width) simd::store(y + width, t.sum[m][1], count - width);
}

/// Calls body(integral_constant<int, rows>) for rows in [1, max_rows].
template <class Body>
[[gnu::always_inline]] inline void with_rows(std::int64_t rows, Body&& body) {
  [&]<int... M>(std::integer_sequence<int, M...>) {
    (void)((rows == M + 1 ? (body(std::integral_constant<int, M + 1>{}), true) : false) || ...);
  }
  (std::make_integer_sequence<int, max_rows>{});
}

/// How M rows are cut: as few groups as possible, as even as possible.
struct row_groups {
  std::int64_t rows;
  constexpr std::int64_t count() const { return (rows + max_rows - 1) / max_rows; }
  constexpr std::int64_t first(std::int64_t g) const { return rows / count() * g + (g < rows % count() ? g : rows % count()); }
  constexpr std::int64_t size(std::int64_t g) const { return first(g + 1) - first(g); }
};

/// Groups in runs whose packed rows, of `cols` values each, stay in the L2 cache while every panel of weights passes by.
struct group_runs {
  row_groups groups;
  std::int64_t cols;
  constexpr std::int64_t groups_a_run() const { return std::max<std::int64_t>(1, 196608 / (max_rows * std::max<std::int64_t>(1, cols))); }
  constexpr std::int64_t count() const { return (groups.count() + groups_a_run() - 1) / groups_a_run(); }
  constexpr std::int64_t first(std::int64_t run) const { return run * groups_a_run(); }
  constexpr std::int64_t end(std::int64_t run) const { return std::min(groups.count(), first(run + 1)); }
};

/// Copies rows row_of(0), row_of(1), ... of x for one group: packed[k][m] = row_of(m)[k].
template <class RowOf>
void pack_group(RowOf const& row_of, std::int64_t rows, std::int64_t cols, float* packed) {
  for (std::int64_t m = 0; m < rows; ++m) {
    float const* const from = row_of(m);
    for (std::int64_t k = 0; k < cols; ++k) packed[k * rows + m] = from[k];
  }
}

/// All rows of x in groups, group g at packed + first(g) * cols. A single row is its own packed form.
inline float const* pack_rows(exec::host& exec, matrix_view<float const> x) {
  if (x.rows() == 1) return x.data();
  float* const packed = exec.workspace.take<float>(x.rows() * x.cols());
  row_groups const groups{x.rows()};
  exec.parallel(groups.count(), [&](std::int64_t g, int) {
    pack_group([&](std::int64_t m) { return x.row(groups.first(g) + m); }, groups.size(g), x.cols(), packed + groups.first(g) * x.cols());
  });
  return packed;
}

}  // namespace plait::inline PLAIT_ABI::panels
