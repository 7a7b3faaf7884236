// One new token a sequence: attention over long contexts, bf16 keys and values (Flash-Decoding: Dao
// et al., 2023). One new token a sequence: a block takes a key head, up to eight of its query heads
// and a run of pages. It is bound by reading the pages once.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/fragments.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Softmax sums over a part of the keys, of every row and query head: weighted sum of values
/// [row][head][split][dim], the largest score and the sum of weights [row][head][split]. No key:
/// the sum of weights is 0, and the rest may be anything. Null: there is one part.
struct attention_parts {
  float *sum = nullptr, *largest = nullptr, *total = nullptr;
};

/// A group_size of n things for each of `splits`: `each` for the first `used` of them, at least
/// one, the
/// last one less.
struct split_shares {
  std::uint32_t each, used;
  PLAIT_HD split_shares(std::int64_t things, std::int64_t splits) {
    auto const n = static_cast<std::uint32_t>(things),
               by = static_cast<std::uint32_t>(splits);  // divided in a few instructions
    each = n > by ? (n + by - 1) / by : 1;
    used = n > 0 ? (n + each - 1) / each : 1;
  }
};

/// Block (sequence and split, key head and eight of its query heads): a split is a run of pages,
/// which the block's warps take in turn.
///
/// Scores are K Q^T, tokens down, query heads across; the sums are V^T P^T, so that the eight
/// columns of mma are query heads and the wide side is the memory's. Which token or dimension a row
/// of a fragment stands for is free as long as all agree, and chosen such that a lane's fragments
/// are made of its own 16-byte copies: nothing passes from lane to lane. Lane (g, j):
///   keys     dims 16 i + 4 j + {0 .. 3}, tokens 8 g + {0 .. 7}
///   values   tokens 16 j + 2 i + {0, 8, 1, 9}, dims 64 h + 8 g + {0 .. 7}
/// Copies run `depth` pieces, each of four, ahead of what is computed, in a ring in shared memory,
/// where they cost no registers.
///
/// The new token is never read from its page: it is a part of its own in the merge of the warps.
/// The block of the last split of a key head writes it there.
/// Equation: keys K Q^T, then values V^T P^T, with query heads as the eight columns of mma; a
///   lane's fragments are made of 16-byte copies of its own. The new token is merged from its
///   activations, and written to its page by the last split
/// Shapes: more than eight query heads a key head are several blocks
/// Cost: keys and values read once for eight query heads; per split and head dim + 2 floats written
///   and read
/// Source: Flash-Decoding (Dao et al., 2023); the online softmax: Milakov and Gimelshein,
///   arXiv:1805.02867
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <int Dim, bool Padded>
struct attention_decode {
  static_assert(Dim % 64 == 0 && Dim <= 256);
  static constexpr int threads = 128, warps = threads / warp_size, columns = 8,
                       blocks = Dim > 128 ? 2
                                : Padded  ? 3
                                          : 4;
  struct args {
    sequences<bf16_t> seqs;
    rows_of<bf16_t const> q, k, v;
    rows_of<bf16_t> out;  ///< may be q
    attention_parts parts;
    page_layout at;  ///< dim is Dim, or, where Padded, a multiple of 8 below it
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
    float largest[warps + 1][columns], total[warps + 1][columns];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    {
      place const o(a, static_cast<std::uint32_t>(b.x()), static_cast<std::uint32_t>(b.y()));
      if (o.nothing) return;
      if (o.split >= o.shares.used) {
        if (b.thread() < o.used_columns) a.parts.total[o.part + b.thread() * a.splits] = 0;
        return;
      }
      sum_pages(b, s, a, o);
    }
    b.sync();
    // The same once more, so that the loop over the pages need not keep it in registers.
    place const o(a, opaque(static_cast<std::uint32_t>(b.x())),
                  opaque(static_cast<std::uint32_t>(b.y())));
    bool const last = o.split == o.shares.used - 1;
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
        s.largest[warps][c] = last ? score : -std::numeric_limits<float>::infinity();
        s.total[warps][c] = last ? 1.0f : 0.0f;
      }
    }
    b.sync();  // also: every warp has read its q

    for (int c = 0; c < o.used_columns; ++c) {
      float most = s.largest[0][c], factor[warps + 1], total = 0;
      PLAIT_UNROLL
      for (int i = 1; i <= warps; ++i) most = fmaxf(most, s.largest[i][c]);
      float const shift = most == -std::numeric_limits<float>::infinity() ? 0.0f : most;
      PLAIT_UNROLL
      for (int i = 0; i <= warps; ++i)
        factor[i] = kernels::exp2((s.largest[i][c] - shift) * a.scale),
        total += factor[i] * s.total[i][c];
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
        a.parts.largest[o.part + c * a.splits] = most;
        a.parts.total[o.part + c * a.splits] = total;
      }
    }
    if (last && o.first_column == 0) {
      bf16_t* const page = a.seqs.template page_of<bf16_t>(o.seq, o.cached / page_tokens);
      for (int d = b.thread(); d < dim; d += threads) {
        page[a.at.key(o.head, d, o.cached % page_tokens)] = new_key[d];
        page[a.at.value(o.head, o.cached % page_tokens, d)] = new_value[d];
      }
    }
  }

 private:
  /// What a block is for.
  struct place {
    std::int64_t seq, split, head, first_column, cached, row, query,
        part;  ///< part and query: of column 0
    int used_columns;
    bool nothing;
    split_shares shares;
    PLAIT_HD place(args const& a, std::uint32_t x, std::uint32_t y) : shares(0, 1) {
      auto const splits = static_cast<std::uint32_t>(a.splits),
                 groups = (static_cast<std::uint32_t>(a.group_size) + columns - 1) / columns;
      seq = x / splits;
      split = x % splits;
      head = y / groups;
      first_column = y % groups * columns;
      cached = a.seqs.length[seq];
      row = a.seqs.first_row[seq];
      nothing = a.seqs.tokens(seq) == 0;
      query = head * a.group_size + first_column;
      part = (row * (a.at.heads * a.group_size) + query) * a.splits + split;
      used_columns = static_cast<int>(
          a.group_size - first_column < columns ? a.group_size - first_column : columns);
      shares = split_shares((cached + page_tokens - 1) / page_tokens, a.splits);
    }
  };

  static constexpr int steps = Dim / 16, halves = Dim / 64, depth = 4;
  static_assert(steps % depth == 0 && depth * 512 >= columns * Dim);

  PLAIT_HD static int dim_of(args const& a) { return Padded ? static_cast<int>(a.at.dim) : Dim; }

  /// This lane's part of a page: its first dimension of its tokens, its first token of its
  /// dimensions, and what of them there is.
  struct lane_page {
    bf16_t const *keys, *values;
    int dims, tokens;  ///< how many there are from the lane's first one on; none: not positive
  };
  /// Four copies of 16 bytes to this lane's places in the ring: piece x of the keys, or of the
  /// values.
  template <class Block, class Ring>
  PLAIT_HD static void fetch_keys(Block const& b, int x, lane_page const& from, Ring& ring) {
    bf16_t const* const at = from.keys + 16 * int{page_tokens} * x;
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c)
      b.copy_async(&ring[x % depth][c][b.lane()], at + c * int{page_tokens}, 16 * x < from.dims);
    b.copies_end();
  }
  template <class Block, class Ring>
  PLAIT_HD static void fetch_values(Block const& b, int x, lane_page const& from, int dim,
                                    Ring& ring) {
    int const g = b.lane() / 4, t = x / halves * 2, d = 64 * (x % halves);
    bf16_t const* const at = from.values + t * dim + d;
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c) {
      int const further = (c & 1) * 8 + c / 2;
      b.copy_async(&ring[x % depth][c][b.lane()], at + further * dim,
                   t + further < from.tokens && (!Padded || d + 8 * g < dim));
    }
    b.copies_end();
  }
  /// The next piece in the ring: words of four rows to fragments of four tiles, and those times
  /// `right`.
  template <class Block, class Ring>
  PLAIT_HD static void multiply(Block const& b, int x, Ring const& ring, words2 right,
                                float (&sums)[4][4]) {
    words4 now[4];
    copies_left<depth - 1>(b);
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c) now[c] = ring[x % depth][c][b.lane()];
    PLAIT_UNROLL
    for (int m = 0; m < 4; ++m) {
      std::uint32_t const wide[4] = {
          low_halves(now[0].word[m], now[1].word[m]), high_halves(now[0].word[m], now[1].word[m]),
          low_halves(now[2].word[m], now[3].word[m]), high_halves(now[2].word[m], now[3].word[m])};
      b.mma(sums[m], wide, right.word);
    }
  }

  /// Sums over each warp's pages of the split, to shared memory.
  template <class Block>
  PLAIT_HD static void sum_pages(Block const& b, shared<Block>& s, args const& a, place const& o) {
    int const g = b.lane() / 4, j = b.lane() % 4, w = b.warp(), dim = dim_of(a);
    // Pages are counted from the split's first one.
    std::int64_t const first = o.split * o.shares.each, left = o.cached - first * page_tokens;
    std::int64_t const most = std::int64_t{o.shares.each} * page_tokens;
    bf16_t* const* const table = reinterpret_cast<bf16_t* const*>(a.seqs.pages[o.seq] + first);
    int const here = static_cast<int>(left < most ? left : most),
              end = (here + int{page_tokens} - 1) / int{page_tokens};
    for (int i = w; i < steps; i += warps) {
      bf16_t const* const at = a.q.row(o.row) + (o.query + g) * dim + 16 * i + 4 * j;
      bool const there =
          g < o.used_columns && 16 * i + 4 * j < dim;  // dim is a multiple of 8: all four or none
      s.queries[i][b.lane()] =
          there ? words2{load_pair(at, a.q.aligned), load_pair(at + 2, a.q.aligned)} : words2{};
    }
    b.sync();
    float sums[halves][4][4] = {}, largest[2], total[2] = {};
    largest[0] = largest[1] = -std::numeric_limits<float>::infinity();

    std::int64_t const key_at = a.seqs.page_offset + a.at.key(o.head, 4 * j, 8 * g);
    std::int64_t const value_at = a.seqs.page_offset + a.at.value(o.head, 16 * j, 8 * g);
    auto const page_at = [&](int p) -> bf16_t const* {
      return table[p < end ? p : 0];
    };  // the new token's page at least is there
    auto const tokens_of = [&](int p) {
      int const n = here - p * int{page_tokens};
      return n < int{page_tokens} ? n : int{page_tokens};
    };
    auto const lane_of = [&](bf16_t const* page, int tokens) -> lane_page {
      return {opaque(page + key_at), opaque(page + value_at),
              tokens <= 0 ? 0
              : Padded    ? dim - 4 * j
                          : Dim,
              tokens - 16 * j};
    };
    lane_page now_at = lane_of(page_at(w), tokens_of(w)), next_at;
    auto& ring = s.of[w].ring;
    PLAIT_UNROLL
    for (int x = 0; x < depth; ++x) fetch_keys(b, x, now_at, ring);
    for (int p = w; p < end; p += warps, now_at = next_at) {
      next_at = lane_of(page_at(p + warps), tokens_of(p + warps));
      int const tokens = tokens_of(p), width = Padded ? opaque(dim) : Dim;
      float scores[4][4] = {};
      PLAIT_ROLLED
      for (int x = 0; x < steps; ++x) {
        multiply(b, x, ring, s.queries[x][b.lane()], scores);
        if (x + depth < steps)
          fetch_keys(b, x + depth, now_at, ring);
        else
          fetch_values(b, x + depth - steps, now_at, width, ring);
      }
      weigh(b, tokens, a.scale, g, scores, largest, total, sums, s.weights[w]);
      PLAIT_ROLLED
      for (int i = 0; i < 4; ++i) PLAIT_UNROLL
      for (int h = 0; h < halves; ++h) {
        int const x = i * halves + h;
        multiply(b, x, ring, s.weights[w][i][b.lane()], sums[h]);
        if (x + depth < 4 * halves)
          fetch_values(b, x + depth, now_at, width, ring);
        else
          fetch_keys(b, x + depth - 4 * halves, next_at, ring);
      }
    }

    copies_left<0>(b);
    b.sync_warp();  // the ring is memory for the sums now
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      int const c = 2 * j + e;
      PLAIT_UNROLL
      for (int mask = 4; mask < warp_size; mask *= 2) total[e] += b.shuffle_xor(total[e], mask);
      if (g == 0) {
        s.largest[w][c] = largest[e];
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

  /// Scores of a page to weights, as mma wants them, and everything before scaled to the new
  /// maximum. scores[m][0, 1] are of token 8 g + 2 m and heads 2 j, 2 j + 1, scores[m][2, 3] of the
  /// next token. total is this lane's group_size.
  template <class Block>
  PLAIT_HD static void weigh(Block const& b, int tokens, float scale, int g, float (&scores)[4][4],
                             float (&largest)[2], float (&total)[2], float (&sums)[halves][4][4],
                             words2 (&weights)[4][warp_size]) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      float here = largest[e];
      PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        if (8 * g + 2 * m >= tokens) scores[m][e] = nothing;
        if (8 * g + 2 * m + 1 >= tokens) scores[m][2 + e] = nothing;
        here = fmaxf(here, fmaxf(scores[m][e], scores[m][2 + e]));
      }
      PLAIT_UNROLL
      for (int mask = 4; mask < warp_size; mask *= 2) here = fmaxf(here, b.shuffle_xor(here, mask));
      float const shift =
          here == nothing
              ? 0.0f
              : here * scale;  // nothing but NaN so far: there is no maximum to subtract
      float const before = kernels::exp2(largest[e] * scale - shift);
      largest[e] = here;
      total[e] *= before;
      PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        scores[m][e] = kernels::exp2(scores[m][e] * scale - shift);
        scores[m][2 + e] = kernels::exp2(scores[m][2 + e] * scale - shift);
        total[e] += scores[m][e] + scores[m][2 + e];
      }
      PLAIT_UNROLL
      for (int h = 0; h < halves; ++h) PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) sums[h][m][e] *= before, sums[h][m][2 + e] *= before;
    }
    PLAIT_UNROLL
    for (int m = 0; m < 4; ++m) {
      std::uint32_t const even = transposed(b, narrow_pair(scores[m][0], scores[m][1]));
      std::uint32_t const odd = transposed(b, narrow_pair(scores[m][2], scores[m][3]));
      weights[m][b.lane()] = {even, odd};  // read by this lane alone
    }
  }
};

/// Block (row, query head): the parts of a row, merged in order.
template <class T>
struct attention_combine {
  static constexpr int threads = 128, max_splits = 256;
  struct args {
    attention_parts parts;
    rows_of<T> out;
    std::int64_t dim, splits;
    float scale;
  };
  template <class Block>
  struct shared {
    typename Block::reduce_space largest, total;
    float weight[max_splits];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const first = (b.x() * b.grid_y() + b.y()) * a.splits;
    float most = -std::numeric_limits<float>::infinity(), total = 0;
    for (std::int64_t i = b.thread(); i < a.splits; i += threads)
      if (a.parts.total[first + i] != 0) most = fmaxf(most, a.parts.largest[first + i]);
    most = b.maximum(s.largest, most);
    if (most == -std::numeric_limits<float>::infinity()) most = 0;
    for (std::int64_t i = b.thread(); i < a.splits; i += threads) {
      float const of_part = a.parts.total[first + i];
      float const weight =
          of_part != 0 ? kernels::exp2((a.parts.largest[first + i] - most) * a.scale) : 0.0f;
      s.weight[i] = weight;
      if (of_part != 0) total += weight * of_part;
    }
    total = b.sum(s.total, total);  // a barrier too: the weights are there
    for (std::int64_t d = b.thread(); d < a.dim; d += threads) {
      float sum = 0;
      for (std::int64_t i = 0; i < a.splits; ++i)
        if (s.weight[i] != 0) sum += s.weight[i] * a.parts.sum[(first + i) * a.dim + d];
      a.out.row(b.x())[b.y() * a.dim + d] = narrow<T>(sum / total);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
