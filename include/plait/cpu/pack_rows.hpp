// Rows of activations packed for the microkernels: in groups, each [word][row].
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/host.hpp>
#include <plait/core/view.hpp>
#include <plait/cpu/row_format.hpp>
#include <plait/cpu/row_groups.hpp>
#include <plait/cpu/simd.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace panels {

namespace detail {

// g++ warns that a register type loses its attributes as a template argument; Eigen's own code does
// the same.
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
    // Stores whole registers, each over the surplus of the one before.
    for (; (k + width - 1) * Rows + width <= words * Rows; k += width) {
      square block;
      for (int m = 0; m < width; ++m)
        block.packet[m] = m < Rows ? simd::load(from[m] + k) : simd::set(0.0f);
      Eigen::internal::ptranspose(block);
      for (int i = 0; i < width; ++i) simd::store(to + (k + i) * Rows, block.packet[i]);
    }
  for (; k < words; ++k)
    for (int m = 0; m < Rows; ++m) to[k * Rows + m] = from[m][k];
}

}  // namespace detail

/// Packs the rows row_of(0), row_of(1), ... of `k` values as one group and writes the scale of each
/// (int8).
template <dtype Activations, class RowOf>
void pack_group(RowOf const& row_of, std::int64_t rows, std::int64_t k, float* packed,
                float* scales) {
  using format = row_format<Activations>;
  with_rows<max_rows(Activations)>(rows, [&](auto size) {
    float const* from[size];
    if constexpr (Activations == dtype::f32) {
      for (int m = 0; m < size; ++m) from[m] = row_of(m);
      detail::transpose_words<size>(from, k, packed);
    } else {
      constexpr std::int64_t piece = 512;
      alignas(64) float words[size][format::words(piece)];
      for (int m = 0; m < size; ++m) {
        from[m] = words[m];
        if constexpr (Activations == dtype::int8) scales[m] = format::scale(row_of(m), k);
      }
      for (std::int64_t first = 0; first < k; first += piece) {
        std::int64_t const n = std::min(piece, k - first);
        for (int m = 0; m < size; ++m)
          format::convert(row_of(m), first, n, Activations == dtype::int8 ? scales[m] : 0.0f,
                          words[m]);
        detail::transpose_words<size>(from, format::words(n), packed + format::words(first) * size);
      }
    }
  });
}

/// Packed rows, group after group, with the scale of each row where they are int8.
template <dtype Activations>
struct packed_rows {
  float* words = nullptr;
  float* scales = nullptr;
  std::int64_t words_per_row = 0;

  /// Takes memory for `rows` rows of `k` values from the workspace.
  packed_rows(exec::host& exec, std::int64_t rows, std::int64_t k)
      : words(exec.workspace.take<float>(rows * row_format<Activations>::words(k))),
        scales(Activations == dtype::int8 ? exec.workspace.take<float>(rows) : nullptr),
        words_per_row(row_format<Activations>::words(k)) {}
  /// One row of floats, which is its own packed form.
  packed_rows(float const* row, std::int64_t k)
      : words(const_cast<float*>(row)), words_per_row(k) {}

  float* at(std::int64_t row) const { return words + row * words_per_row; }
  float* scale(std::int64_t row) const {
    return Activations == dtype::int8 ? scales + row : nullptr;
  }
};

/// Packs group g of the rows of x.
template <dtype Activations>
void pack_group(matrix_view<float const> x, row_groups const& groups, std::int64_t g,
                packed_rows<Activations> const& packed) {
  std::int64_t const first = groups.first(g);
  pack_group<Activations>([&](std::int64_t m) { return x.row(first + m); }, groups.size(g),
                          x.cols(), packed.at(first), packed.scale(first));
}

/// Packs all rows of x.
/// Equation: values as row_format rounds them (cpu/row_format.hpp). The rounding of a row depends
///   on that row alone, so that results do not depend on the batch
/// Shapes: groups of at most 12 rows with AVX-512 (6 of bytes), 6 with AVX2 (4), 4 otherwise. A
///   single row of floats is its own packed form
/// Cost: each value is read once (twice for int8) and written once, transposed in registers;
///   threads share groups
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
