// The product all linear maps are made of: a few rows of x times one panel of weights.
//
// One accumulation chain an output, over k upwards, whether one token is computed or a thousand:
// that is what makes prefill, chunks and decode equal to the last bit. Rows are taken in groups
// small enough for all sums to stay in registers, and many groups share a piece of the panel in the
// L1 cache: their sums rest in memory meanwhile and are continued, never added up (after Goto and
// van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008).
// Equation: one chain of fused multiply-adds an output, over k upwards, whether one token is
//   computed or a thousand. Stored and multiplied as f32 by f32; bf16 and int8 by f32, bit for bit
//   what f32 weights of their values give; bf16 by bf16, of each pair of columns the second first;
//   int8 by int8, whole sums of 32 columns, each scaled by its weights' scale and added, then
//   scaled by the row's
// Shapes: weights as cpu/panel_matrix.hpp has them, rows as pack_rows.hpp does. A run has at most
//   16 groups. A kernel, one for each number of rows of a group, is compiled once for all its uses
// Cost: a panel is read from memory once a run and prefetched 3 KiB ahead; within a run 24 KiB of
//   it stay in the L1 cache while the groups pass by, their sums in memory meanwhile: a load and a
//   store of each sum for about 200 multiply-adds
// Source: packed panels and tiles of registers: Goto and van de Geijn, Anatomy of High-Performance
//   Matrix Multiplication, ACM TOMS 34 (2008)
// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp,
// tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/view.hpp>
#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/pack_rows.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/cpu/simd.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// Rows of a panel.
inline constexpr int panel = static_cast<int>(panel_rows);
static_assert(panel == 2 * width);

/// Sums of one tile: Rows rows, one panel wide.
template <int Rows>
struct tile {
  packet sum[Rows][2];

  /// Starts every chain at 0, or at the `count` values of bias.
  void start(float const* bias = nullptr, std::int64_t count = panel) {
    packet const a = bias != nullptr ? simd::load(bias, count) : simd::set(0.0f);
    packet const b = bias != nullptr && count > width ? simd::load(bias + width, count - width)
                                                      : simd::set(0.0f);
    for (auto& row : sum) {
      row[0] = a;
      row[1] = b;
    }
  }
  void load(float const* from) {
    for (int m = 0; m < Rows; ++m) {
      sum[m][0] = simd::load(from + m * panel);
      sum[m][1] = simd::load(from + m * panel + width);
    }
  }
  void store(float* to) const {
    for (int m = 0; m < Rows; ++m) {
      simd::store(to + m * panel, sum[m][0]);
      simd::store(to + m * panel + width, sum[m][1]);
    }
  }
  /// Writes `count` columns of row m.
  void write(int m, float* y, std::int64_t count) const {
    simd::store(y, sum[m][0], count);
    if (count > width) simd::store(y + width, sum[m][1], count - width);
  }
};

/// Calls body(integral_constant<int, m>...) with m = 0 .. Rows - 1: what is unrolled by hand
/// elsewhere.
template <int Rows, class Body>
[[gnu::always_inline]] inline void for_rows(Body&& body) {
  [&]<int... M>(std::integer_sequence<int, M...>) __attribute__((always_inline)) {
    body(std::integral_constant<int, M>{}...);
  }
  (std::make_integer_sequence<int, Rows>{});
}

/// t[m] += sum_k x[k][m] * w[k], both read as streams: w has `stride` values a row, float or
/// bf16_t; x is [k][Rows].
template <int Rows, class Element>
[[gnu::always_inline]] inline void multiply(tile<Rows>& t, Element const* w, std::int64_t stride,
                                            float const* x, std::int64_t k) {
  constexpr int line = 64 / sizeof(Element),
                ahead = 3072 / sizeof(Element);  // the hardware prefetcher stops at page ends
  for_rows<Rows>([&](auto... M) __attribute__((always_inline)) {
    packet low[Rows] = {t.sum[M][0]...}, high[Rows] = {t.sum[M][1]...};
    for (std::int64_t i = 0; i < k; ++i, w += stride, x += Rows) {
      packet const a = simd::load(w), b = simd::load(w + width);
      __builtin_prefetch(w + ahead);
      if constexpr (panel > line) __builtin_prefetch(w + ahead + line);
      ((low[M] = simd::fma(a, simd::set(x[M]), low[M]),
        high[M] = simd::fma(b, simd::set(x[M]), high[M])),
       ...);
    }
    ((t.sum[M][0] = low[M], t.sum[M][1] = high[M]), ...);
  });
}

/// The product of weights stored as Stored with rows packed as Activations: run(t, w, x, k)
/// continues the sums of t over `k` columns, w and x standing at a step. Where the two chains of
/// one row wait for themselves rather than for memory, `pairs` is true and run_pair computes one
/// row with two panels at once.
template <dtype Stored, dtype Activations>
struct product;

template <>
struct product<dtype::f32, dtype::f32> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(tile<Rows>& t, std::byte const* w, float const* x,
                                         std::int64_t k) {
    multiply<Rows>(t, reinterpret_cast<float const*>(w), panel, x, k);
  }
};

/// Widened: the same as f32 weights of these values.
template <>
struct product<dtype::bf16, dtype::f32> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(tile<Rows>& t, std::byte const* w, float const* x,
                                         std::int64_t k) {
    for_rows<Rows>([&](auto... M) __attribute__((always_inline)) {
      packet low[Rows] = {t.sum[M][0]...}, high[Rows] = {t.sum[M][1]...};
      auto const step = [&](packet a, packet b, float const* values)
          __attribute__((always_inline)) {
        ((low[M] = simd::fma(a, simd::set(values[M]), low[M]),
          high[M] = simd::fma(b, simd::set(values[M]), high[M])),
         ...);
      };
      for (std::int64_t i = 0; i + 1 < k; i += 2, w += panel * 4, x += 2 * Rows) {
        simd::integers const a = simd::words(w), b = simd::words(w + width * 4);
        __builtin_prefetch(w + 3072);
        if constexpr (width == 16) __builtin_prefetch(w + 3072 + 64);
        step(simd::lower(a), simd::lower(b), x);
        step(simd::upper(a), simd::upper(b), x + Rows);
      }
      if (k % 2 != 0) step(simd::lower(simd::words(w)), simd::lower(simd::words(w + width * 4)), x);
      ((t.sum[M][0] = low[M], t.sum[M][1] = high[M]), ...);
    });
  }
};

template <>
struct product<dtype::bf16, dtype::bf16> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(tile<Rows>& t, std::byte const* w, float const* x,
                                         std::int64_t k) {
    for_rows<Rows>([&](auto... M) __attribute__((always_inline)) {
      packet low[Rows] = {t.sum[M][0]...}, high[Rows] = {t.sum[M][1]...};
      for (std::int64_t i = 0; i < k; i += 2, w += panel * 4) {
        simd::integers const a = simd::words(w), b = simd::words(w + width * 4);
        __builtin_prefetch(w + 3072);
        if constexpr (width == 16) __builtin_prefetch(w + 3072 + 64);
#if PLAIT_BF16_DOT
        ((low[M] = simd::dot_bf16(low[M], a, simd::words(x[M])),
          high[M] = simd::dot_bf16(high[M], b, simd::words(x[M]))),
         ...);
        x += Rows;
#else
        // The upper product first, then the lower, each with one rounding, as the instruction does
        // (subnormal values apart, which it takes for zero).
        auto const step = [&](packet p, packet q, float const* values) __attribute__((always_inline)) {
          ((low[M] = simd::fma(p, simd::set(values[M]), low[M]), high[M] = simd::fma(q, simd::set(values[M]), high[M])), ...);
        };
        step(simd::upper(a), simd::upper(b), x + Rows);
        step(simd::lower(a), simd::lower(b), x);
        x += 2 * Rows;
#endif
      }
      ((t.sum[M][0] = low[M], t.sum[M][1] = high[M]), ...);
    });
  }
};

/// Widened: scale * (byte - 128) has at most 19 significant bits, so that it is exact, and the same
/// as f32 weights of these values.
template <>
struct product<dtype::int8, dtype::f32> {
  static constexpr bool pairs = true;

  template <int Rows>
  [[gnu::always_inline]] static void run(tile<Rows>& t, std::byte const* w, float const* x,
                                         std::int64_t k) {
    for_rows<Rows>([&](auto... M) __attribute__((always_inline)) {
      packet low[Rows] = {t.sum[M][0]...}, high[Rows] = {t.sum[M][1]...};
      for (; k > 0; k -= format::step, w += format::step_bytes) {
        block const scales(w);
        std::int64_t const here = std::min(k, format::step);
        for (std::int64_t i = 0; i < here; i += 4)
          scales.columns(
              w, i, here, [&](packet a, packet b) __attribute__((always_inline)) {
                ((low[M] = simd::fma(a, simd::set(x[M]), low[M]),
                  high[M] = simd::fma(b, simd::set(x[M]), high[M])),
                 ...);
                x += Rows;
              });
      }
      ((t.sum[M][0] = low[M], t.sum[M][1] = high[M]), ...);
    });
  }

  [[gnu::always_inline]] static void run_pair(tile<1>& t, tile<1>& u, std::byte const* w,
                                              std::byte const* v, float const* x, std::int64_t k) {
    packet t0 = t.sum[0][0], t1 = t.sum[0][1], u0 = u.sum[0][0], u1 = u.sum[0][1];
    for (; k > 0;
         k -= format::step, w += format::step_bytes, v += format::step_bytes, x += format::step) {
      block const of_w(w), of_v(v);
      std::int64_t const here = std::min(k, format::step);
      for (std::int64_t i = 0; i < here; i += 4) {
        float const *at_w = x + i, *at_v = x + i;
        of_w.columns(
            w, i, here, [&](packet a, packet b) __attribute__((always_inline)) {
              t0 = simd::fma(a, simd::set(*at_w), t0);
              t1 = simd::fma(b, simd::set(*at_w), t1);
              ++at_w;
            });
        of_v.columns(
            v, i, here, [&](packet a, packet b) __attribute__((always_inline)) {
              u0 = simd::fma(a, simd::set(*at_v), u0);
              u1 = simd::fma(b, simd::set(*at_v), u1);
              ++at_v;
            });
      }
    }
    t.sum[0][0] = t0;
    t.sum[0][1] = t1;
    u.sum[0][0] = u0;
    u.sum[0][1] = u1;
  }

 private:
  using format = panel_format<dtype::int8>;

  /// The scales of a block, which turn bytes into weights.
  struct block {
    packet scale_a, scale_b, offset_a, offset_b;
    explicit block(std::byte const* w)
        : scale_a(simd::load_f16(w)),
          scale_b(simd::load_f16(w + width * 2)),
          offset_a(simd::mul(scale_a, simd::set(-128.0f))),
          offset_b(simd::mul(scale_b, simd::set(-128.0f))) {
      __builtin_prefetch(w + 3072);
    }
    /// Calls use(a, b) for columns i to i + 3, as far as they are below `end`.
    template <class Use>
    [[gnu::always_inline]] void columns(std::byte const* w, std::int64_t i, std::int64_t end,
                                        Use const& use) const {
      std::byte const* const at = w + panel * 2 + i * panel;
      simd::integers const a = simd::words(at), b = simd::words(at + width * 4);
      __builtin_prefetch(at + 3072);
      if constexpr (width == 16) __builtin_prefetch(at + 3072 + 64);
      auto const weights = [&](packet p, packet q) __attribute__((always_inline)) {
        use(simd::fma(p, scale_a, offset_a), simd::fma(q, scale_b, offset_b));
      };
      weights(simd::byte<0>(a), simd::byte<0>(b));
      if (i + 1 < end) weights(simd::byte<1>(a), simd::byte<1>(b));
      if (i + 2 < end) weights(simd::byte<2>(a), simd::byte<2>(b));
      if (i + 3 < end) weights(simd::byte<3>(a), simd::byte<3>(b));
    }
  };
};

/// Products of bytes, exact within a block of 32; their sums, in f32, are scaled by the block's
/// scale, and at the end by the row's.
template <>
struct product<dtype::int8, dtype::int8> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(tile<Rows>& t, std::byte const* w, float const* x,
                                         std::int64_t k) {
    using format = panel_format<dtype::int8>;
    for_rows<Rows>([&](auto... M) __attribute__((always_inline)) {
      for (; k > 0; k -= format::step) {
        packet const scale_a = simd::load_f16(w), scale_b = simd::load_f16(w + width * 2);
        __builtin_prefetch(w + 3072);
        w += panel * 2;
#if PLAIT_INT8_DOT
        simd::byte_sum low[Rows] = {simd::words(x[M])...}, high[Rows] = {simd::words(x[M])...};
        x += Rows;
        for (int i = 0; i < format::step; i += 4, w += panel * 4, x += Rows) {
          simd::integers const a = simd::words(w), b = simd::words(w + width * 4);
          __builtin_prefetch(w + 3072);
          if constexpr (width == 16) __builtin_prefetch(w + 3072 + 64);
          ((low[M] = simd::dot_int8(low[M], a, simd::words(x[M])),
            high[M] = simd::dot_int8(high[M], b, simd::words(x[M]))),
           ...);
        }
        ((t.sum[M][0] = simd::fma(simd::value(low[M]), scale_a, t.sum[M][0]),
          t.sum[M][1] = simd::fma(simd::value(high[M]), scale_b, t.sum[M][1])),
         ...);
#else
        // In floats: whole numbers below 2^24 add up exactly.
        packet low[Rows] = {simd::set(x[M])...}, high[Rows] = {simd::set(x[M])...};
        x += Rows;
        auto const column = [&](packet a, packet b) __attribute__((always_inline)) {
          ((low[M] = simd::fma(a, simd::set(x[M]), low[M]), high[M] = simd::fma(b, simd::set(x[M]), high[M])), ...);
          x += Rows;
        };
        for (int i = 0; i < format::step; i += 4, w += panel * 4) {
          simd::integers const a = simd::words(w), b = simd::words(w + width * 4);
          column(simd::byte<0>(a), simd::byte<0>(b));
          column(simd::byte<1>(a), simd::byte<1>(b));
          column(simd::byte<2>(a), simd::byte<2>(b));
          column(simd::byte<3>(a), simd::byte<3>(b));
        }
        ((t.sum[M][0] = simd::fma(low[M], scale_a, t.sum[M][0]), t.sum[M][1] = simd::fma(high[M], scale_b, t.sum[M][1])), ...);
#endif
      }
    });
  }
};

/// `count` columns of a row of sums.
inline void copy_columns(float const* sums, float* y, std::int64_t count) {
  simd::store(y, simd::load(sums), count);
  if (count > width) simd::store(y + width, simd::load(sums + width), count - width);
}

/// sums [rows][panel] continued over k columns, w and x standing at a step.
using kernel = void (*)(float* sums, std::byte const* w, float const* x, std::int64_t k);

/// The kernel for a number of rows of activations.
template <dtype Stored, dtype Activations>
kernel kernel_of(std::int64_t rows) {
  return []<int... M>(std::integer_sequence<int, M...>, std::int64_t r) {
    static constexpr kernel all[] = {
        +[](float* sums, std::byte const* w, float const* x, std::int64_t k) {
          tile<M + 1> t;
          t.load(sums);
          product<Stored, Activations>::template run<M + 1>(t, w, x, k);
          t.store(sums);
        }...};
    return all[r - 1];
  }
  (std::make_integer_sequence<int, max_rows(Activations)>{}, rows);
}

/// Groups in runs: the work of one thread on one panel. Long enough for the panel's weights to be
/// worth their way from memory, short enough for the packed rows to stay in the L2 cache while the
/// panels pass by.
struct group_runs {
  static constexpr std::int64_t most = 16;
  row_groups groups;
  std::int64_t groups_per_run = most;
  constexpr std::int64_t count() const {
    return (groups.count() + groups_per_run - 1) / groups_per_run;
  }
  constexpr std::int64_t first(std::int64_t run) const { return run * groups_per_run; }
  constexpr std::int64_t end(std::int64_t run) const {
    return std::min(groups.count(), first(run + 1));
  }
};

/// Sums of one panel for up to a run of groups, [row][panel], rows counted from the run's first.
template <dtype Activations>
struct panel_sums {
  alignas(64) float values[group_runs::most * max_rows(Activations) * panel];
  float* row(std::int64_t r) { return values + r * panel; }
};

/// One panel times groups [first, end) of packed rows of k values, begun at the `count` values of
/// bias, where there is one.
template <dtype Stored, dtype Activations>
void multiply_groups(std::byte const* weights, packed_rows<Activations> const& x,
                     std::int64_t first_row, row_groups const& groups, std::int64_t first,
                     std::int64_t end, std::int64_t k, float const* bias, std::int64_t count,
                     panel_sums<Activations>& sums) {
  using weight_format = panel_format<Stored>;
  constexpr bool scaled = Activations == dtype::int8;
  std::int64_t const before = groups.first(first), rows = groups.first(end) - before;
  tile<1> start, zero;
  start.start(bias, count);
  zero.start();
  for (std::int64_t r = 0; r < rows; ++r) (scaled ? zero : start).store(sums.row(r));
  // Pieces of the panel, as even as possible, that stay in the L1 cache while the groups pass by.
  constexpr std::int64_t steps_per_piece =
      std::max<std::int64_t>(1, 24576 / weight_format::step_bytes);
  std::int64_t const steps = (k + weight_format::step - 1) / weight_format::step;
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

/// Two panels times one row, at once (product::pairs); a function of its own, so that it is
/// compiled once, as the kernels are.
template <dtype Stored, dtype Activations>
void multiply_pair(std::byte const* w, std::byte const* v, float const* x, std::int64_t k,
                   tile<1>& t, tile<1>& u) {
  product<Stored, Activations>::run_pair(t, u, w, v, x, k);
}

/// Panels that one item of work computes.
template <dtype Stored, dtype Activations>
inline constexpr std::int64_t panels_per_item = product<Stored, Activations>::pairs ? 2 : 1;

/// Items of work that a matrix has.
template <dtype Stored, dtype Activations>
constexpr std::int64_t items(panel_matrix<Stored> const& w) {
  return (w.panels() + panels_per_item<Stored, Activations> - 1) /
         panels_per_item<Stored, Activations>;
}

/// The panels of item `item` of one copy of w times the groups of a run: their columns of y, whose
/// row first_row is the first of x. Bias is whole, or null.
template <dtype Stored, dtype Activations>
void multiply_item(panel_matrix<Stored> const& w, std::int64_t copy, std::int64_t item,
                   packed_rows<Activations> const& x, std::int64_t first_row,
                   group_runs const& runs, std::int64_t run, float const* bias,
                   matrix_view<float> y) {
  std::int64_t const first = runs.first(run), end = runs.end(run),
                     before = runs.groups.first(first);
  auto const count = [&](std::int64_t p) {
    return std::min<std::int64_t>(panel, w.rows() - p * panel);
  };
  auto const bias_of = [&](std::int64_t p) { return bias != nullptr ? bias + p * panel : nullptr; };
  std::int64_t const p = item * panels_per_item<Stored, Activations>,
                     behind = std::min(w.panels(), p + panels_per_item<Stored, Activations>);
  if constexpr (product<Stored, Activations>::pairs)
    if (runs.groups.rows == 1 && behind - p == 2) {
      tile<1> t, u;
      t.start(bias_of(p), count(p));
      u.start(bias_of(p + 1), count(p + 1));
      multiply_pair<Stored, Activations>(w.panel_data(copy, p), w.panel_data(copy, p + 1),
                                         x.at(first_row), w.cols(), t, u);
      t.write(0, y.row(first_row) + p * panel, count(p));
      u.write(0, y.row(first_row) + (p + 1) * panel, count(p + 1));
      return;
    }
  panel_sums<Activations> sums;
  for (std::int64_t i = p; i < behind; ++i) {
    multiply_groups<Stored, Activations>(w.panel_data(copy, i), x, first_row, runs.groups, first,
                                         end, w.cols(), bias_of(i), count(i), sums);
    for (std::int64_t r = 0; r < runs.groups.first(end) - before; ++r)
      copy_columns(sums.row(r), y.row(first_row + before + r) + i * panel, count(i));
  }
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
