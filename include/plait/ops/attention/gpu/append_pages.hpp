// The kernel that appends new keys and values to their pages.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/sequence_tiles.hpp>
#include <plait/policy/precision.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (tile, key head) appends up to 64 new tokens of one sequence. Keys are transposed from
/// [token][dim] to [dim][token] in shared memory, 64 tokens by 64 dimensions at a time.
/// Cost: each key and value read and written once
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <class T, class Value>
struct append_pages {
  static constexpr int square = 64;
  struct args {
    sequences<T> seqs;
    rows_of<T const> k, v;
    page_layout layout;
  };
  static constexpr int threads = 256, min_blocks_per_multiprocessor = 6;
  template <class>
  struct shared {
    Value keys[square]
              [square + 2];  // [token][dim], padded: columns are read without bank conflicts
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const seq = sequence_of_tile(a.seqs, 1, square, b.x());
    std::int64_t const head = b.y();
    std::int64_t const dim = a.layout.dim;
    std::int64_t const row = a.seqs.first_row[seq];
    std::int64_t const first = (b.x() - first_tile(a.seqs, 1, square, seq)) * square;
    std::int64_t const remaining = a.seqs.tokens(seq) - first;
    if (remaining <= 0) return;
    int const tokens = static_cast<int>(remaining < square ? remaining : square);
    int const column = b.thread() % square;
    int const line = b.thread() / square;
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
              seq, p / page_tokens)[a.layout.key(head, d0 + d, p % page_tokens)] =
              s.keys[column][d];
        }
      b.sync();
    }
    for (std::int64_t i = b.thread(); i < tokens * dim; i += threads) {
      std::int64_t const t = i / dim, d = i % dim, p = position + t;
      a.seqs.template page_of<Value>(seq,
                                     p / page_tokens)[a.layout.value(head, p % page_tokens, d)] =
          narrow<Value>(widen(a.v.row(row + first + t)[head * dim + d]));
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
