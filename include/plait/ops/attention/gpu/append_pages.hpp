// New keys and values to their pages: keys are turned from [token][dim] to [dim][token] in shared
// memory, 64 by 64. And tiles of rows that belong to one sequence each, numbered without a table,
// so that a grid needs no lengths.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The sequence of row t, by bisection; there is one.
template <class T>
PLAIT_HD inline std::int64_t sequence_of_row(sequences<T> const& seqs, std::int64_t t) {
  std::int64_t low = 0, high = seqs.count;  // first_row[low] <= t < first_row[high]
  while (high - low > 1) {
    std::int64_t const middle = (low + high) / 2;
    (seqs.first_row[middle] <= t ? low : high) = middle;
  }
  return low;
}

/// Tiles of up to Size rows that belong to one sequence, numbered through all sequences without a
/// table: sequence s begins at tile first_row[s] group_size / Size + s, where every new token
/// counts as
/// `group_size` rows. Some numbers have no rows.
template <class T>
PLAIT_HD inline std::int64_t first_tile(sequences<T> const& seqs, std::int64_t group_size,
                                        std::int64_t size, std::int64_t s) {
  return seqs.first_row[s] * group_size / size + s;
}
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
/// At least as many tiles as there are numbers.
inline std::int64_t max_tiles(std::int64_t count, std::int64_t rows, std::int64_t group_size,
                              std::int64_t size) {
  return rows * group_size / size + count;
}

/// Block (tile, head): up to 64 new tokens of a sequence; keys are turned from [token][dim] to
/// [dim][token] in shared memory, a square of 64 tokens and 64 dimensions at a time.
/// Equation: sequence s begins at tile floor(first_row[s] group_size / size) + s: enough numbers
/// for
///   each, at most one unused a sequence
/// Cost: each key and value read and written once
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <class T, class Value>
struct append_pages {
  static constexpr int square = 64;
  struct args {
    sequences<T> seqs;
    rows_of<T const> k, v;
    page_layout at;
  };
  static constexpr int threads = 256, blocks = 6;
  template <class>
  struct shared {
    Value keys[square][square + 2];  // [token][dim]: columns are read without bank conflicts
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const seq = sequence_of_tile(a.seqs, 1, square, b.x()), head = b.y(),
                       dim = a.at.dim, row = a.seqs.first_row[seq];
    std::int64_t const first = (b.x() - first_tile(a.seqs, 1, square, seq)) * square,
                       left = a.seqs.tokens(seq) - first;
    if (left <= 0) return;
    int const tokens = static_cast<int>(left < square ? left : square),
              column = b.thread() % square, line = b.thread() / square;
    std::int64_t const position = a.seqs.length[seq] + first;
    for (std::int64_t d0 = 0; d0 < dim; d0 += square) {
      for (int t = line; t < tokens; t += threads / square)
        if (d0 + column < dim)
          s.keys[t][column] =
              narrow<Value>(widen(a.k.row(row + first + t)[head * dim + d0 + column]));
      b.sync();
      for (int d = line; d < square; d += threads / square)
        if (column < tokens && d0 + d < dim) {
          std::int64_t const p = position + column;
          a.seqs.template page_of<Value>(
              seq, p / page_tokens)[a.at.key(head, d0 + d, p % page_tokens)] = s.keys[column][d];
        }
      b.sync();
    }
    for (std::int64_t i = b.thread(); i < tokens * dim; i += threads) {
      std::int64_t const t = i / dim, d = i % dim, p = position + t;
      a.seqs.template page_of<Value>(seq, p / page_tokens)[a.at.value(head, p % page_tokens, d)] =
          narrow<Value>(widen(a.v.row(row + first + t)[head * dim + d]));
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
