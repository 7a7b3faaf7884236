// Microkernels: a few rows of x times one panel of weights, one kernel per pair of element types.
// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp,
//   tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/accumulators.hpp>
#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/panel_format.hpp>
#include <plait/cpu/row_groups.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace panels {

/// Bytes between a load of weights and its prefetch: the hardware prefetcher stops at the end of a
/// page.
inline constexpr std::int64_t prefetch_bytes = 3072;

/// t[m] += sum_k x[k][m] w[k].
/// Shapes: x [k][Rows]; w [k][panel], float or bf16_t, its rows `stride` values apart
template <int Rows, class Element>
[[gnu::always_inline]] inline void multiply(accumulators<Rows>& t, Element const* w,
                                            std::int64_t stride, float const* x, std::int64_t k) {
  constexpr int line = 64 / sizeof(Element);
  constexpr int ahead = prefetch_bytes / sizeof(Element);
  accumulators<Rows> sums = t;
  for (std::int64_t i = 0; i < k; ++i, w += stride, x += Rows) {
    packet const a = simd::load(w);
    packet const b = simd::load(w + width);
    __builtin_prefetch(w + ahead);
    if constexpr (panel > line) __builtin_prefetch(w + ahead + line);
    sums.multiply_add(a, b, x);
  }
  t = sums;
}

/// One 32-bit word of weights per row of a panel: two columns of bfloat16 or four of bytes.
struct weight_words {
  simd::integers a;
  simd::integers b;

  explicit weight_words(std::byte const* w) : a(simd::words(w)), b(simd::words(w + width * 4)) {}
  /// Loads the words and prefetches those that follow.
  [[gnu::always_inline]] static weight_words stream(std::byte const* w) {
    weight_words const words(w);
    __builtin_prefetch(w + prefetch_bytes);
    if constexpr (width == 16) __builtin_prefetch(w + prefetch_bytes + 64);
    return words;
  }
};

/// The microkernel for weights stored as `Stored` and rows packed as `Activations`: run(sums, w, x,
/// k) continues the sums over k columns, from the beginning of a step of w and x. Where `pairs` is
/// true, the two chains of one row are bound by latency rather than by memory, and run_pair
/// computes one row with two panels at once.
/// Equation: one chain of fused multiply-adds per output, over k upwards, for any number of rows.
///   f32 by f32. bf16 and int8 by f32: the weights are widened, with the same bits as f32 weights
///   of the same values. bf16 by bf16: the second column of each pair is added before the first.
///   int8 by int8: each integer sum of 32 columns is multiplied by the scale of its weights and
///   added
/// Shapes: w as panel_format (cpu/panel_format.hpp), x as row_format (cpu/row_format.hpp)
/// Cost: a panel is read once, prefetched 3 KiB ahead
template <dtype Stored, dtype Activations>
struct microkernel;

template <>
struct microkernel<dtype::f32, dtype::f32> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(accumulators<Rows>& sums, std::byte const* w,
                                         float const* x, std::int64_t k) {
    multiply<Rows>(sums, reinterpret_cast<float const*>(w), panel, x, k);
  }
};

template <>
struct microkernel<dtype::bf16, dtype::f32> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(accumulators<Rows>& sums, std::byte const* w,
                                         float const* x, std::int64_t k) {
    for (std::int64_t i = 0; i + 1 < k; i += 2, w += panel * 4, x += 2 * Rows) {
      auto const [a, b] = weight_words::stream(w);
      sums.multiply_add(simd::lower(a), simd::lower(b), x);
      sums.multiply_add(simd::upper(a), simd::upper(b), x + Rows);
    }
    if (k % 2 != 0) {
      auto const [a, b] = weight_words(w);
      sums.multiply_add(simd::lower(a), simd::lower(b), x);
    }
  }
};

template <>
struct microkernel<dtype::bf16, dtype::bf16> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(accumulators<Rows>& sums, std::byte const* w,
                                         float const* x, std::int64_t k) {
    for (std::int64_t i = 0; i < k; i += 2, w += panel * 4) {
      auto const [a, b] = weight_words::stream(w);
#if PLAIT_BF16_DOT
      sums.dot_bf16(a, b, x);
      x += Rows;
#else
      // The instruction's order: the upper product, then the lower, one rounding each. (The
      // instruction treats subnormal values as zero; this code does not.)
      sums.multiply_add(simd::upper(a), simd::upper(b), x + Rows);
      sums.multiply_add(simd::lower(a), simd::lower(b), x);
      x += 2 * Rows;
#endif
    }
  }
};

/// scale (byte - 128) has at most 19 significant bits: widening is exact.
template <>
struct microkernel<dtype::int8, dtype::f32> {
  static constexpr bool pairs = true;

  template <int Rows>
  [[gnu::always_inline]] static void run(accumulators<Rows>& sums, std::byte const* w,
                                         float const* x, std::int64_t k) {
    for (; k > 0; k -= format::step, w += format::step_bytes) {
      block const scales(w);
      std::int64_t const columns = std::min(k, format::step);
      for (std::int64_t i = 0; i < columns; i += 4)
        scales.widen(
            w, i, columns, [&](packet a, packet b) __attribute__((always_inline)) {
              sums.multiply_add(a, b, x);
              x += Rows;
            });
    }
  }

  [[gnu::always_inline]] static void run_pair(accumulators<1>& t, accumulators<1>& u,
                                              std::byte const* w, std::byte const* v,
                                              float const* x, std::int64_t k) {
    accumulators<1> w_sums = t;
    accumulators<1> v_sums = u;
    for (; k > 0;
         k -= format::step, w += format::step_bytes, v += format::step_bytes, x += format::step) {
      block const w_scales(w);
      block const v_scales(v);
      std::int64_t const columns = std::min(k, format::step);
      for (std::int64_t i = 0; i < columns; i += 4) {
        float const* w_x = x + i;
        float const* v_x = x + i;
        w_scales.widen(
            w, i, columns, [&](packet a, packet b) __attribute__((always_inline)) {
              w_sums.multiply_add(a, b, w_x);
              ++w_x;
            });
        v_scales.widen(
            v, i, columns, [&](packet a, packet b) __attribute__((always_inline)) {
              v_sums.multiply_add(a, b, v_x);
              ++v_x;
            });
      }
    }
    t = w_sums;
    u = v_sums;
  }

 private:
  using format = panel_format<dtype::int8>;

  /// The scales of one block of 32 columns.
  struct block {
    packet scale_a, scale_b;
    packet offset_a, offset_b;  ///< -128 times the scale

    explicit block(std::byte const* w)
        : scale_a(simd::load_f16(w)),
          scale_b(simd::load_f16(w + width * 2)),
          offset_a(simd::mul(scale_a, simd::set(-128.0f))),
          offset_b(simd::mul(scale_b, simd::set(-128.0f))) {
      __builtin_prefetch(w + prefetch_bytes);
    }
    /// Calls use(a, b) for each of the columns i to i + 3 below `end` of the block at w.
    template <class Use>
    [[gnu::always_inline]] void widen(std::byte const* w, std::int64_t i, std::int64_t end,
                                      Use const& use) const {
      weight_words const words = weight_words::stream(w + panel * 2 + i * panel);
      auto const column = [&](packet p, packet q) __attribute__((always_inline)) {
        use(simd::fma(p, scale_a, offset_a), simd::fma(q, scale_b, offset_b));
      };
      column(simd::byte<0>(words.a), simd::byte<0>(words.b));
      if (i + 1 < end) column(simd::byte<1>(words.a), simd::byte<1>(words.b));
      if (i + 2 < end) column(simd::byte<2>(words.a), simd::byte<2>(words.b));
      if (i + 3 < end) column(simd::byte<3>(words.a), simd::byte<3>(words.b));
    }
  };
};

template <>
struct microkernel<dtype::int8, dtype::int8> {
  static constexpr bool pairs = false;
  template <int Rows>
  [[gnu::always_inline]] static void run(accumulators<Rows>& sums, std::byte const* w,
                                         float const* x, std::int64_t k) {
    constexpr std::int64_t step = panel_format<dtype::int8>::step;
    for (; k > 0; k -= step) {
      packet const scale_a = simd::load_f16(w);
      packet const scale_b = simd::load_f16(w + width * 2);
      __builtin_prefetch(w + prefetch_bytes);
      w += panel * 2;
      accumulators<Rows, products::bytes> block;
      block.start_bytes(x);
      x += Rows;
      for (int i = 0; i < step; i += 4, w += panel * 4) {
#if PLAIT_INT8_DOT
        auto const [a, b] = weight_words::stream(w);
        block.dot_int8(a, b, x);
        x += Rows;
#else
        auto const [a, b] = weight_words(w);
        block.multiply_add(simd::byte<0>(a), simd::byte<0>(b), x);
        block.multiply_add(simd::byte<1>(a), simd::byte<1>(b), x + Rows);
        block.multiply_add(simd::byte<2>(a), simd::byte<2>(b), x + 2 * Rows);
        block.multiply_add(simd::byte<3>(a), simd::byte<3>(b), x + 3 * Rows);
        x += 4 * Rows;
#endif
      }
      sums.add_scaled(block, scale_a, scale_b);
    }
  }
};

/// A microkernel for a fixed number of rows: continues sums [rows][panel] over k columns.
using kernel = void (*)(float* sums, std::byte const* w, float const* x, std::int64_t k);

/// The microkernel for `rows` rows, 1 to max_rows(Activations); compiled once for all its callers.
template <dtype Stored, dtype Activations>
kernel kernel_of(std::int64_t rows) {
  return []<int... M>(std::integer_sequence<int, M...>, std::int64_t r) {
    static constexpr kernel all[] = {
        +[](float* sums, std::byte const* w, float const* x, std::int64_t k) {
          accumulators<M + 1> t;
          t.load(sums);
          microkernel<Stored, Activations>::template run<M + 1>(t, w, x, k);
          t.store(sums);
        }...};
    return all[r - 1];
  }
  (std::make_integer_sequence<int, max_rows(Activations)>{}, rows);
}

/// microkernel::run_pair; compiled once for all its callers.
template <dtype Stored, dtype Activations>
void multiply_pair(std::byte const* w, std::byte const* v, float const* x, std::int64_t k,
                   accumulators<1>& t, accumulators<1>& u) {
  microkernel<Stored, Activations>::run_pair(t, u, w, v, x, k);
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
