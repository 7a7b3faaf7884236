// Activations as the kernels read them, in `panels`: rounded to what they are multiplied in, in
// groups of rows, [word][row].
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/host.hpp>
#include <plait/core/view.hpp>
#include <plait/cpu/low_precision.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace panels {

using simd::packet;
using simd::width;

/// Rows computed together: as many as their sums, two registers each, leave room for beside the
/// weights (of 32 registers, or 16). Sums of bytes need two more each until they are scaled.
constexpr int max_rows(dtype activations) {
  if (width == 16) return activations == dtype::int8 && PLAIT_INT8_DOT ? 6 : 12;
  return activations != dtype::int8 && width == 8 ? 6 : 4;
}

/// How M rows are cut: as few groups as possible, as even as possible.
struct row_groups {
  std::int64_t rows;
  int most;
  constexpr std::int64_t count() const { return (rows + most - 1) / most; }
  constexpr std::int64_t first(std::int64_t g) const {
    return rows / count() * g + (g < rows % count() ? g : rows % count());
  }
  constexpr std::int64_t size(std::int64_t g) const { return first(g + 1) - first(g); }
};

/// Calls body(integral_constant<int, rows>) for rows in [1, Most].
template <int Most, class Body>
[[gnu::always_inline]] inline void with_rows(std::int64_t rows, Body&& body) {
  [&]<int... M>(std::integer_sequence<int, M...>) {
    (void)((rows == M + 1 ? (body(std::integral_constant<int, M + 1>{}), true) : false) || ...);
  }
  (std::make_integer_sequence<int, Most>{});
}

/// One row in 32-bit words, carried as floats whatever they hold: `words` of a row of `k` values, a
/// `step` of values at a time, and convert(row, first, n, scale, out), which writes those of
/// [first, first + n), first a multiple of the step.
template <dtype Activations>
struct row_format;

/// The values themselves.
template <>
struct row_format<dtype::f32> {
  static constexpr std::int64_t step = 1;
  static constexpr std::int64_t words(std::int64_t k) { return k; }
};

/// Two values a word, rounded to the nearest bfloat16, the first in the lower half; behind an odd
/// number of them a zero. As floats, one a word, where there is no dot product of pairs.
template <>
struct row_format<dtype::bf16> {
  static constexpr std::int64_t step = 2;
  static constexpr std::int64_t words(std::int64_t k) {
    return PLAIT_BF16_DOT ? (k + 1) / 2 : (k + 1) / 2 * 2;
  }
  static void convert(float const* row, std::int64_t first, std::int64_t n, float, float* out) {
    row += first;
    std::int64_t i = 0;
#if PLAIT_BF16_DOT
#if PLAIT_AVX512_BF16
    for (; 2 * i + 32 <= n; i += 16) {
      auto const pairs = _mm512_cvtne2ps_pbh(simd::load(row + 2 * i + 16), simd::load(row + 2 * i));
      __builtin_memcpy(out + i, &pairs, sizeof(pairs));
    }
#endif
    for (; 2 * i + 1 < n; ++i)
      out[i] = std::bit_cast<float>(std::uint32_t{to_bf16(row[2 * i])} |
                                    std::uint32_t{to_bf16(row[2 * i + 1])} << 16);
    if (2 * i < n) out[i] = std::bit_cast<float>(std::uint32_t{to_bf16(row[2 * i])});
#else
    for (; i < n; ++i) out[i] = from_bf16(to_bf16(row[i]));
    if (n % 2 != 0) out[n] = 0;
#endif
  }
};

/// Blocks of 32 values, each rounded to a multiple of the row's scale, from -127 to 127: first -128
/// times their sum, which takes back the offset of the weights' bytes, then the values, four a
/// word; as floats, one a word, where there is no dot product of bytes.
template <>
struct row_format<dtype::int8> {
  static constexpr std::int64_t step = 32, block_words = PLAIT_INT8_DOT ? 1 + step / 4 : 1 + step;
  static constexpr std::int64_t words(std::int64_t k) {
    return (k + step - 1) / step * block_words;
  }

  /// The largest magnitude / 127; NaN where a value is not finite.
  static float scale(float const* row, std::int64_t k) {
    std::uint32_t most = 0;
    for (std::int64_t i = 0; i < k; ++i)
      most = std::max(most, std::bit_cast<std::uint32_t>(row[i]) & 0x7fffffffu);
    return most < 0x7f800000u ? std::bit_cast<float>(most) / 127.0f
                              : std::numeric_limits<float>::quiet_NaN();
  }

  static void convert(float const* row, std::int64_t first, std::int64_t n, float scale,
                      float* out) {
    float const inverse =
        scale >= 0x1p-120f ? 1.0f / scale : 0.0f;  // of NaN, too: the scale alone carries it
    packet const factor = simd::set(inverse), most = simd::set(127.0f), least = simd::set(-127.0f),
                 rounder = simd::set(12582912.0f);
    for (std::int64_t block = 0; block < n; block += step, out += block_words) {
      alignas(64) float rounded[step];
      for (std::int64_t i = 0; i < step; i += width) {
        packet const x = n - block - i > 0 ? simd::load(row + first + block + i, n - block - i)
                                           : simd::set(0.0f);
        packet const r =
            simd::sub(simd::fma(x, factor, rounder), rounder);  // to the nearest integer
        simd::store(rounded + i, simd::min(simd::max(r, least), most));
      }
      std::int32_t values[step], sum = 0;
      for (std::int64_t i = 0; i < step; ++i) {
        values[i] = static_cast<std::int32_t>(inverse != 0 ? rounded[i] : 0.0f);
        sum += values[i];
      }
#if PLAIT_INT8_DOT
      out[0] = std::bit_cast<float>(simd::keeps_offset ? -128 * sum : 0);
      std::int8_t bytes[step];
      for (std::int64_t i = 0; i < step; ++i) bytes[i] = static_cast<std::int8_t>(values[i]);
      __builtin_memcpy(out + 1, bytes, sizeof(bytes));
#else
      out[0] = static_cast<float>(-128 * sum);
      for (std::int64_t i = 0; i < step; ++i) out[1 + i] = static_cast<float>(values[i]);
#endif
    }
  }
};

// g++ finds it worth a warning that a register type loses its attributes as a template argument;
// Eigen's own code is made of that.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif
/// As many registers as a register has floats, to be transposed.
using square = Eigen::internal::PacketBlock<packet, width>;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Rows of words to [word][row].
template <int Rows>
void transpose_words(float const* const (&from)[Rows], std::int64_t words, float* to) {
  std::int64_t k = 0;
  if constexpr (Rows > 1 && Rows <= width)
    for (; (k + width - 1) * Rows + width <= words * Rows;
         k += width) {  // whole registers, each begun where the last one ends
      square block;
      for (int m = 0; m < width; ++m)
        block.packet[m] = m < Rows ? simd::load(from[m] + k) : simd::set(0.0f);
      Eigen::internal::ptranspose(block);
      for (int i = 0; i < width; ++i) simd::store(to + (k + i) * Rows, block.packet[i]);
    }
  for (; k < words; ++k)
    for (int m = 0; m < Rows; ++m) to[k * Rows + m] = from[m][k];
}

/// Packs rows row_of(0), row_of(1), ... of `k` values as one group, [word][row], and writes the
/// scale of each.
template <dtype Activations, class RowOf>
void pack_group(RowOf const& row_of, std::int64_t rows, std::int64_t k, float* packed,
                float* scales) {
  using format = row_format<Activations>;
  with_rows<max_rows(Activations)>(rows, [&](auto size) {
    float const* from[size];
    if constexpr (Activations == dtype::f32) {
      for (int m = 0; m < size; ++m) from[m] = row_of(m);
      transpose_words<size>(from, k, packed);
    } else {
      constexpr std::int64_t piece = 512;
      alignas(64) float words[size][format::words(piece)];
      for (int m = 0; m < size; ++m) {
        from[m] = words[m];
        if constexpr (Activations == dtype::int8) scales[m] = format::scale(row_of(m), k);
      }
      for (std::int64_t first = 0; first < k; first += piece) {
        std::int64_t const n = std::min(piece, k - first), count = format::words(n);
        for (int m = 0; m < size; ++m)
          format::convert(row_of(m), first, n, Activations == dtype::int8 ? scales[m] : 0.0f,
                          words[m]);
        transpose_words<size>(from, count, packed + format::words(first) * size);
      }
    }
  });
}

/// Packed rows in groups; of int8 also a scale a row.
template <dtype Activations>
struct packed_rows {
  float* words = nullptr;
  float* scales = nullptr;
  std::int64_t words_per_row = 0;

  /// Room for `rows` rows of `k` values in the workspace.
  packed_rows(exec::host& exec, std::int64_t rows, std::int64_t k)
      : words(exec.workspace.take<float>(rows * row_format<Activations>::words(k))),
        scales(Activations == dtype::int8 ? exec.workspace.take<float>(rows) : nullptr),
        words_per_row(row_format<Activations>::words(k)) {}
  /// One row of floats is its own packed form.
  packed_rows(float const* row, std::int64_t k)
      : words(const_cast<float*>(row)), words_per_row(k) {}

  float* at(std::int64_t row) const { return words + row * words_per_row; }
  float* scale(std::int64_t row) const {
    return Activations == dtype::int8 ? scales + row : nullptr;
  }
};

/// Group g of the rows of x.
template <dtype Activations>
void pack_group(matrix_view<float const> x, row_groups const& groups, std::int64_t g,
                packed_rows<Activations> const& packed) {
  std::int64_t const first = groups.first(g);
  pack_group<Activations>([&](std::int64_t m) { return x.row(first + m); }, groups.size(g),
                          x.cols(), packed.at(first), packed.scale(first));
}

/// All rows of x.
/// Equation: bf16 to the nearest, ties to even, two a word; int8 to whole multiples of the row's
///   largest magnitude / 127, blocks of 32 values behind -128 times their sum. A row's rounding
///   depends on that row alone, which keeps results independent of the batch. A row with a value
///   that is not finite gives NaN
/// Shapes: a group has at most 12 rows with AVX-512 (6 of bytes), 6 with AVX2 (4), 4 otherwise; M
///   rows are cut into as few groups as possible, as even as possible. A single row of floats is
///   its own packed form
/// Cost: each value is read once (twice for int8), written once; transposed in registers. Threads
///   share groups
/// Test: tests/unit/ops/linear/linear_test.cpp, tests/unit/ops/linear/precision_test.cpp
template <dtype Activations>
packed_rows<Activations> pack_rows(exec::host& exec, matrix_view<float const> x) {
  if constexpr (Activations == dtype::f32)
    if (x.rows() == 1) return {x.data(), x.cols()};
  packed_rows<Activations> const packed(exec, x.rows(), x.cols());
  row_groups const groups{x.rows(), max_rows(Activations)};
  exec.parallel(groups.count(), [&](std::int64_t g, int) { pack_group(x, groups, g, packed); });
  return packed;
}

}  // namespace panels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
