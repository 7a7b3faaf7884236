// The attention kernel for one new token per sequence, with bf16 keys and values.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/fragments.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/attention_parts.hpp>
#include <plait/policy/precision.hpp>

#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (sequence and split, key head and up to eight of its query heads). A split is a run of
/// pages, which the warps of the block take in turn.
///
/// Scores are K Q^T [tokens, query heads]; the sums are V^T P^T [dimensions, query heads]. So the
/// eight columns of mma are query heads, and its sixteen rows are keys or values, which are read
/// from memory. The assignment of tokens and dimensions to rows of a fragment is free as long as
/// all operands agree on it: it is chosen so that the fragments of a lane consist of its own
/// 16-byte copies, and no data passes between lanes. Lane (g, j): keys     dims 16 i + 4 j + {0 ..
/// 3}, tokens 8 g + {0 .. 7} values   tokens 16 j + 2 i + {0, 8, 1, 9}, dims 64 h + 8 g + {0 .. 7}
/// Copies run `depth` pieces of four copies ahead of the computation, in a ring in shared memory,
/// where they cost no registers.
///
/// The new token is not read from its page: the merge of the warps adds it as a separate part, from
/// the activations. The block of the last split of a key head writes it to its page.
/// Shapes: more than eight query heads per key head take several blocks
/// Cost: bound by memory: keys and values are read once per eight query heads; dim + 2 floats
///   written per split and head
/// Source: Flash-Decoding (Dao et al., 2023); the online softmax: Milakov and Gimelshein,
///   arXiv:1805.02867
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <int Dim, bool Padded>
struct attention_decode {
  static_assert(Dim % 64 == 0 && Dim <= 256);
  static constexpr int threads = 128, warps = threads / warp_size, columns = 8;
  static constexpr int min_blocks_per_multiprocessor = Dim > 128 ? 2 : Padded ? 3 : 4;
  struct args {
    sequences<bf16_t> seqs;
    rows_of<bf16_t const> q, k, v;
    rows_of<bf16_t> out;  ///< may be q
    attention_parts parts;
    page_layout layout;  ///< dim is Dim, or, where Padded, a multiple of 8 below it
    std::int64_t group_size, splits;
    float scale;  ///< log2(e) / sqrt(dim)
  };
  template <class>
  struct shared {
    union {
      words4 ring[4][4][warp_size];
      float sum[columns][Dim];
    } of[warps];
    words2 queries[Dim / 16][warp_size], weights[warps][4][warp_size];  ///< fragments
    float maximum[warps + 1][columns], total[warps + 1][columns];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    {
      assignment const o(a, static_cast<std::uint32_t>(b.x()), static_cast<std::uint32_t>(b.y()));
      if (o.empty) return;
      if (o.split >= o.sizes.used) {
        if (b.thread() < o.used_columns) a.parts.total[o.part + b.thread() * a.splits] = 0;
        return;
      }
      sum_pages(b, s, a, o);
    }
    b.sync();
    // Computed again, so that the loop over the pages does not keep it in registers.
    assignment const o(a, opaque(static_cast<std::uint32_t>(b.x())),
                       opaque(static_cast<std::uint32_t>(b.y())));
    bool const last = o.split == o.sizes.used - 1;
    int const dim = dim_of(a);
    bf16_t const* const q = a.q.row(o.row) + o.query * dim;
    bf16_t const* const new_key = a.k.row(o.row) + o.head * dim;
    bf16_t const* const new_value = a.v.row(o.row) + o.head * dim;
    for (int c = b.warp(); c < columns; c += warps) {
      float score = 0;
      if (last && c < o.used_columns)
        for (int d = b.lane(); d < dim; d += warp_size)
          score += widen(q[c * dim + d]) * widen(new_key[d]);
      score = warp_sum(b, score);
      if (b.lane() == 0) {
        s.maximum[warps][c] = last ? score : -std::numeric_limits<float>::infinity();
        s.total[warps][c] = last ? 1.0f : 0.0f;
      }
    }
    b.sync();  // also: every warp has read its q

    for (int c = 0; c < o.used_columns; ++c) {
      float max_score = s.maximum[0][c], factor[warps + 1], total = 0;
      PLAIT_UNROLL
      for (int i = 1; i <= warps; ++i) max_score = fmaxf(max_score, s.maximum[i][c]);
      float const shift = max_score == -std::numeric_limits<float>::infinity() ? 0.0f : max_score;
      PLAIT_UNROLL
      for (int i = 0; i <= warps; ++i) {
        factor[i] = kernels::exp2((s.maximum[i][c] - shift) * a.scale);
        total += factor[i] * s.total[i][c];
      }
      for (int d = b.thread(); d < dim; d += threads) {
        float sum = last ? factor[warps] * widen(new_value[d]) : 0.0f;
        PLAIT_UNROLL
        for (int i = 0; i < warps; ++i) sum += factor[i] * s.of[i].sum[c][d];
        if (a.parts.sum == nullptr)
          a.out.row(o.row)[(o.query + c) * dim + d] = narrow<bf16_t>(sum / total);
        else
          a.parts.sum[(o.part + c * a.splits) * dim + d] = sum;
      }
      if (a.parts.sum != nullptr && b.thread() == 0) {
        a.parts.maximum[o.part + c * a.splits] = max_score;
        a.parts.total[o.part + c * a.splits] = total;
      }
    }
    if (last && o.first_column == 0) {
      bf16_t* const page = a.seqs.template page_of<bf16_t>(o.seq, o.cached / page_tokens);
      for (int d = b.thread(); d < dim; d += threads) {
        page[a.layout.key(o.head, d, o.cached % page_tokens)] = new_key[d];
        page[a.layout.value(o.head, o.cached % page_tokens, d)] = new_value[d];
      }
    }
  }

 private:
  /// The sequence, split and heads of a block. `query` and `part` are those of column 0.
  struct assignment {
    std::int64_t seq, split, head, first_column, cached, row, query, part;
    int used_columns;
    bool empty;  ///< no new token
    split_sizes sizes;
    PLAIT_HD assignment(args const& a, std::uint32_t x, std::uint32_t y) : sizes(0, 1) {
      auto const splits = static_cast<std::uint32_t>(a.splits);
      auto const groups = (static_cast<std::uint32_t>(a.group_size) + columns - 1) / columns;
      seq = x / splits;
      split = x % splits;
      head = y / groups;
      first_column = y % groups * columns;
      cached = a.seqs.length[seq];
      row = a.seqs.first_row[seq];
      empty = a.seqs.tokens(seq) == 0;
      query = head * a.group_size + first_column;
      part = (row * (a.layout.heads * a.group_size) + query) * a.splits + split;
      used_columns = static_cast<int>(
          a.group_size - first_column < columns ? a.group_size - first_column : columns);
      sizes = split_sizes((cached + page_tokens - 1) / page_tokens, a.splits);
    }
  };

  static constexpr int steps = Dim / 16, halves = Dim / 64, depth = 4;
  static_assert(steps % depth == 0 && depth * 512 >= columns * Dim);

  PLAIT_HD static int dim_of(args const& a) {
    return Padded ? static_cast<int>(a.layout.dim) : Dim;
  }

  /// A lane's part of a page: the address of its first dimension and token in the keys and in the
  /// values, and how many dimensions and tokens are valid from there on.
  struct lane_page {
    bf16_t const *keys, *values;
    int dims, tokens;  ///< not positive: none
  };

  /// Starts the four copies of 16 bytes that are piece x of the keys, to this lane's places in the
  /// ring. copy_values does the same for the values.
  template <class Block, class Ring>
  PLAIT_HD static void copy_keys(Block const& b, int x, lane_page const& from, Ring& ring) {
    bf16_t const* const at = from.keys + 16 * int{page_tokens} * x;
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c)
      b.copy_async(&ring[x % depth][c][b.lane()], at + c * int{page_tokens}, 16 * x < from.dims);
    b.commit_copies();
  }
  template <class Block, class Ring>
  PLAIT_HD static void copy_values(Block const& b, int x, lane_page const& from, int dim,
                                   Ring& ring) {
    int const g = b.lane() / 4, t = x / halves * 2, d = 64 * (x % halves);
    bf16_t const* const at = from.values + t * dim + d;
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c) {
      int const offset = (c & 1) * 8 + c / 2;
      b.copy_async(&ring[x % depth][c][b.lane()], at + offset * dim,
                   t + offset < from.tokens && (!Padded || d + 8 * g < dim));
    }
    b.commit_copies();
  }

  /// Multiplies piece x of the ring with `right`: the words of four rows become fragments of four
  /// tiles.
  template <class Block, class Ring>
  PLAIT_HD static void multiply(Block const& b, int x, Ring const& ring, words2 right,
                                float (&sums)[4][4]) {
    words4 rows[4];
    wait_for_copies<depth - 1>(b);
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c) rows[c] = ring[x % depth][c][b.lane()];
    PLAIT_UNROLL
    for (int m = 0; m < 4; ++m) {
      std::uint32_t const wide[4] = {low_halves(rows[0].word[m], rows[1].word[m]),
                                     high_halves(rows[0].word[m], rows[1].word[m]),
                                     low_halves(rows[2].word[m], rows[3].word[m]),
                                     high_halves(rows[2].word[m], rows[3].word[m])};
      b.mma(sums[m], wide, right.word);
    }
  }

  /// Online-softmax sums over each warp's pages of the split, to shared memory.
  template <class Block>
  PLAIT_HD static void sum_pages(Block const& b, shared<Block>& s, args const& a,
                                 assignment const& o) {
    int const g = b.lane() / 4, j = b.lane() % 4, w = b.warp(), dim = dim_of(a);
    // Page 0 is the first one of the split.
    std::int64_t const first = o.split * o.sizes.per_split;
    std::int64_t const remaining = o.cached - first * page_tokens;
    std::int64_t const max_tokens = std::int64_t{o.sizes.per_split} * page_tokens;
    bf16_t* const* const table = reinterpret_cast<bf16_t* const*>(a.seqs.pages[o.seq] + first);
    int const split_tokens = static_cast<int>(remaining < max_tokens ? remaining : max_tokens);
    int const end = (split_tokens + int{page_tokens} - 1) / int{page_tokens};
    for (int i = w; i < steps; i += warps) {
      bf16_t const* const at = a.q.row(o.row) + (o.query + g) * dim + 16 * i + 4 * j;
      // dim is a multiple of 8: all four dimensions are valid or none.
      bool const valid = g < o.used_columns && 16 * i + 4 * j < dim;
      s.queries[i][b.lane()] =
          valid ? words2{load_pair(at, a.q.aligned), load_pair(at + 2, a.q.aligned)} : words2{};
    }
    b.sync();
    float sums[halves][4][4] = {}, maximum[2], total[2] = {};
    maximum[0] = maximum[1] = -std::numeric_limits<float>::infinity();

    std::int64_t const key_at = a.seqs.page_offset + a.layout.key(o.head, 4 * j, 8 * g);
    std::int64_t const value_at = a.seqs.page_offset + a.layout.value(o.head, 16 * j, 8 * g);
    // Page 0 exists: the page of the new token has been reserved.
    auto const page_at = [&](int p) -> bf16_t const* { return table[p < end ? p : 0]; };
    auto const tokens_of = [&](int p) {
      int const n = split_tokens - p * int{page_tokens};
      return n < int{page_tokens} ? n : int{page_tokens};
    };
    auto const lane_of = [&](bf16_t const* page, int tokens) -> lane_page {
      return {opaque(page + key_at), opaque(page + value_at),
              tokens <= 0 ? 0
              : Padded    ? dim - 4 * j
                          : Dim,
              tokens - 16 * j};
    };
    lane_page current = lane_of(page_at(w), tokens_of(w)), next;
    auto& ring = s.of[w].ring;
    PLAIT_UNROLL
    for (int x = 0; x < depth; ++x) copy_keys(b, x, current, ring);
    for (int p = w; p < end; p += warps, current = next) {
      next = lane_of(page_at(p + warps), tokens_of(p + warps));
      int const tokens = tokens_of(p), width = Padded ? opaque(dim) : Dim;
      float scores[4][4] = {};
      PLAIT_ROLLED
      for (int x = 0; x < steps; ++x) {
        multiply(b, x, ring, s.queries[x][b.lane()], scores);
        if (x + depth < steps)
          copy_keys(b, x + depth, current, ring);
        else
          copy_values(b, x + depth - steps, current, width, ring);
      }
      softmax_step(b, tokens, a.scale, g, scores, maximum, total, sums, s.weights[w]);
      PLAIT_ROLLED
      for (int i = 0; i < 4; ++i) PLAIT_UNROLL
      for (int h = 0; h < halves; ++h) {
        int const x = i * halves + h;
        multiply(b, x, ring, s.weights[w][i][b.lane()], sums[h]);
        if (x + depth < 4 * halves)
          copy_values(b, x + depth, current, width, ring);
        else
          copy_keys(b, x + depth - 4 * halves, next, ring);
      }
    }

    wait_for_copies<0>(b);
    b.sync_warp();  // from here on the memory of the ring holds the sums
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      int const c = 2 * j + e;
      PLAIT_UNROLL
      for (int mask = 4; mask < warp_size; mask *= 2) total[e] += b.shuffle_xor(total[e], mask);
      if (g == 0) {
        s.maximum[w][c] = maximum[e];
        s.total[w][c] = total[e];
      }
      PLAIT_UNROLL
      for (int h = 0; h < halves; ++h) PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        s.of[w].sum[c][64 * h + 8 * g + 2 * m] = sums[h][m][e];
        s.of[w].sum[c][64 * h + 8 * g + 2 * m + 1] = sums[h][m][2 + e];
      }
    }
  }

  /// One step of the online softmax: the scores of a page become weights, as operands of mma, and
  /// earlier sums are rescaled to the new maximum. scores[m][0, 1] are those of token 8 g + 2 m and
  /// heads 2 j, 2 j + 1, scores[m][2, 3] those of the next token. total is summed per lane.
  template <class Block>
  PLAIT_HD static void softmax_step(Block const& b, int tokens, float scale, int g,
                                    float (&scores)[4][4], float (&maximum)[2], float (&total)[2],
                                    float (&sums)[halves][4][4], words2 (&weights)[4][warp_size]) {
    constexpr float no_score = -std::numeric_limits<float>::infinity();
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      float new_maximum = maximum[e];
      PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        if (8 * g + 2 * m >= tokens) scores[m][e] = no_score;
        if (8 * g + 2 * m + 1 >= tokens) scores[m][2 + e] = no_score;
        new_maximum = fmaxf(new_maximum, fmaxf(scores[m][e], scores[m][2 + e]));
      }
      PLAIT_UNROLL
      for (int mask = 4; mask < warp_size; mask *= 2)
        new_maximum = fmaxf(new_maximum, b.shuffle_xor(new_maximum, mask));
      // All scores up to here are NaN: no maximum to subtract.
      float const shift = new_maximum == no_score ? 0.0f : new_maximum * scale;
      float const rescale = kernels::exp2(maximum[e] * scale - shift);
      maximum[e] = new_maximum;
      total[e] *= rescale;
      PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        scores[m][e] = kernels::exp2(scores[m][e] * scale - shift);
        scores[m][2 + e] = kernels::exp2(scores[m][2 + e] * scale - shift);
        total[e] += scores[m][e] + scores[m][2 + e];
      }
      PLAIT_UNROLL
      for (int h = 0; h < halves; ++h) PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        sums[h][m][e] *= rescale;
        sums[h][m][2 + e] *= rescale;
      }
    }
    PLAIT_UNROLL
    for (int m = 0; m < 4; ++m) {
      std::uint32_t const even = transposed(b, narrow_pair(scores[m][0], scores[m][1]));
      std::uint32_t const odd = transposed(b, narrow_pair(scores[m][2], scores[m][3]));
      weights[m][b.lane()] = {even, odd};  // read by this lane alone
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
