// Tiles of rows that belong to one sequence each, numbered without a table, so that the size of a
// grid needs no lengths.
// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/core/sequences.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The sequence that row t belongs to, by bisection. t must be a row of the batch.
template <class T>
PLAIT_HD inline std::int64_t sequence_of_row(sequences<T> const& seqs, std::int64_t t) {
  std::int64_t low = 0, high = seqs.count;  // first_row[low] <= t < first_row[high]
  while (high - low > 1) {
    std::int64_t const middle = (low + high) / 2;
    (seqs.first_row[middle] <= t ? low : high) = middle;
  }
  return low;
}

/// The number of the first tile of sequence s. Tiles have up to `size` rows of one sequence; a new
/// token counts as `group_size` rows. Some tiles have no rows.
/// Equation: floor(first_row[s] group_size / size) + s: at least the tiles that each sequence
///   needs, at most one unused per sequence
template <class T>
PLAIT_HD inline std::int64_t first_tile(sequences<T> const& seqs, std::int64_t group_size,
                                        std::int64_t size, std::int64_t s) {
  return seqs.first_row[s] * group_size / size + s;
}

/// The sequence that a tile belongs to, by bisection.
template <class T>
PLAIT_HD inline std::int64_t sequence_of_tile(sequences<T> const& seqs, std::int64_t group_size,
                                              std::int64_t size, std::int64_t tile) {
  std::int64_t low = 0, high = seqs.count;
  while (high - low > 1) {
    std::int64_t const middle = (low + high) / 2;
    (first_tile(seqs, group_size, size, middle) <= tile ? low : high) = middle;
  }
  return low;
}

/// An upper bound of the number of tiles, from the numbers of sequences and rows alone.
inline std::int64_t max_tiles(std::int64_t count, std::int64_t rows, std::int64_t group_size,
                              std::int64_t size) {
  return rows * group_size / size + count;
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
