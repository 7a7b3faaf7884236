// One new token a sequence: attention over long contexts, bf16 keys and values (Flash-Decoding: Dao et al., 2023).
#pragma once

#include <plait/core/sequences.hpp>
#include <plait/exec/device.hpp>
#include <plait/ops/cuda/fragments.hpp>
#include <plait/ops/cuda/vector.hpp>

#include <limits>

namespace plait::inline PLAIT_ABI::kernels {

/// Softmax sums over a part of the keys, of every row and query head: weighted sum of values [row][head][split][dim], the largest score
/// and the sum of weights [row][head][split]. No key: the sum of weights is 0, and the rest may be anything. Null: there is one part.
struct attend_parts {
  float *sum = nullptr, *largest = nullptr, *total = nullptr;
};

/// A share of n things for each of `splits`: `each` for the first `used` of them, at least one, the last one less.
struct split_shares {
  std::int64_t each, used;
  PLAIT_HD split_shares(std::int64_t n, std::int64_t splits) {
    each = n > splits ? (n + splits - 1) / splits : 1;
    used = n > 0 ? (n + each - 1) / each : 1;
  }
};

/// Block (sequence and split, key head and eight of its query heads): a split is a run of pages, which the block's warps take in turn.
///
/// Scores are K Q^T, tokens down, query heads across; the sums are V^T P^T, so that the eight columns of mma are query heads and
/// the wide side is the memory's. Which token or dimension a row of a fragment stands for is free as long as all agree, and chosen such
/// that a lane's fragments are made of its own 16-byte loads: keys and values go from memory to mma without shared memory. Lane (g, j):
///   keys     dims 16 i + 4 j + {0 .. 3}, tokens 8 g + {0 .. 7}
///   values   tokens 16 j + 2 i + {0, 8, 1, 9}, dims 64 h + 8 g + {0 .. 7}
/// Loads run `ahead` pieces, each of four, before what is computed.
///
/// The new token is never read from its page: it is a part of its own in the merge of the warps. The block of the last split of a key head
/// writes it there.
template <int Dim>
struct attend_decode {
  static_assert(Dim % 64 == 0 && Dim <= 256);
  static constexpr int threads = 128, warps = threads / warp_size, columns = 8;
  struct args {
    sequences<bf16_t> seqs;
    rows_of<bf16_t const> q, k, v;
    rows_of<bf16_t> out;  ///< may be q
    attend_parts parts;
    page_layout at;  ///< dim a multiple of 8, at most Dim
    std::int64_t share, splits;
    float scale;  ///< log2(e) / sqrt(dim)
  };
  template <class>
  struct shared {
    float sum[warps][columns][Dim];
    float largest[warps + 1][columns], total[warps + 1][columns];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const seq = b.x() / a.splits, split = b.x() % a.splits, groups = (a.share + columns - 1) / columns;
    std::int64_t const head = b.y() / groups, first_column = b.y() % groups * columns, dim = a.at.dim, cached = a.seqs.length[seq];
    if (a.seqs.tokens(seq) == 0) return;
    std::int64_t const row = a.seqs.first_row[seq], query = head * a.share + first_column;
    int const used_columns = static_cast<int>(a.share - first_column < columns ? a.share - first_column : columns);
    split_shares const shares((cached + page_tokens - 1) / page_tokens, a.splits);
    std::int64_t const part = (row * (a.at.heads * a.share) + query) * a.splits + split;  // of column 0
    if (split >= shares.used) {
      if (b.thread() < used_columns) a.parts.total[part + b.thread() * a.splits] = 0;
      return;
    }
    bool const last = split == shares.used - 1;
    bf16_t const* const q = a.q.row(row) + query * dim;
    bf16_t const* const new_key = a.k.row(row) + head * dim;
    bf16_t const* const new_value = a.v.row(row) + head * dim;

    sum_pages(b, s, a, seq, head, split * shares.each, shares.each, cached, q, used_columns);
    for (int c = b.warp(); c < columns; c += warps) {
      float score = 0;
      if (last && c < used_columns)
        for (std::int64_t d = b.lane(); d < dim; d += warp_size) score += widen(q[c * dim + d]) * widen(new_key[d]);
      score = warp_sum(b, score);
      if (b.lane() == 0) {
        s.largest[warps][c] = last ? score : -std::numeric_limits<float>::infinity();
        s.total[warps][c] = last ? 1.0f : 0.0f;
      }
    }
    b.sync();  // also: every warp has read its q

    for (int c = 0; c < used_columns; ++c) {
      float most = s.largest[0][c], factor[warps + 1], total = 0;
      PLAIT_UNROLL
      for (int i = 1; i <= warps; ++i) most = fmaxf(most, s.largest[i][c]);
      float const shift = most == -std::numeric_limits<float>::infinity() ? 0.0f : most;
      PLAIT_UNROLL
      for (int i = 0; i <= warps; ++i) factor[i] = kernels::exp2((s.largest[i][c] - shift) * a.scale), total += factor[i] * s.total[i][c];
      for (std::int64_t d = b.thread(); d < dim; d += threads) {
        float sum = last ? factor[warps] * widen(new_value[d]) : 0.0f;
        PLAIT_UNROLL
        for (int i = 0; i < warps; ++i) sum += factor[i] * s.sum[i][c][d];
        if (a.parts.sum == nullptr) a.out.row(row)[(query + c) * dim + d] = narrow<bf16_t>(sum / total);
        else a.parts.sum[(part + c * a.splits) * dim + d] = sum;
      }
      if (a.parts.sum != nullptr && b.thread() == 0)
        a.parts.largest[part + c * a.splits] = most, a.parts.total[part + c * a.splits] = total;
    }
    if (last && first_column == 0) {
      bf16_t* const page = a.seqs.template page_of<bf16_t>(seq, cached / page_tokens);
      for (std::int64_t d = b.thread(); d < dim; d += threads) {
        page[a.at.key(head, d, cached % page_tokens)] = new_key[d];
        page[a.at.value(head, cached % page_tokens, d)] = new_value[d];
      }
    }
  }

 private:
  static constexpr int steps = Dim / 16, halves = Dim / 64, pieces = steps + 4 * halves, ahead = Dim <= 128 ? 4 : 2;
  static_assert(pieces % ahead == 0);

  /// This lane's 64 bytes of piece x of a page: keys first. Zeros where nothing may be read.
  PLAIT_HD static void load(int x, bf16_t const* page, std::int64_t keys, std::int64_t values, int tokens, int dim, int g, int j,
                            words4 (&to)[4]) {
    PLAIT_UNROLL
    for (int c = 0; c < 4; ++c) {
      to[c] = {};
      if (x < steps) {
        int const d = 16 * x + 4 * j + c;
        if (tokens > 0 && d < dim) to[c] = *reinterpret_cast<words4 const*>(page + keys + d * page_tokens + 8 * g);
      } else {
        int const i = (x - steps) / halves, h = (x - steps) % halves, t = 16 * j + 2 * i + (c & 1) * 8 + c / 2, d = 64 * h + 8 * g;
        if (t < tokens && d < dim) to[c] = *reinterpret_cast<words4 const*>(page + values + t * dim + d);
      }
    }
  }

  /// Every warp's pages of [first, first + count), of `cached` tokens, to shared memory.
  template <class Block>
  PLAIT_HD static void sum_pages(Block const& b, shared<Block>& s, args const& a, std::int64_t seq, std::int64_t head, std::int64_t first,
                                 std::int64_t count, std::int64_t cached, bf16_t const* q, int used_columns) {
    int const g = b.lane() / 4, j = b.lane() % 4, w = b.warp(), dim = static_cast<int>(a.at.dim);
    std::int64_t const pages = (cached + page_tokens - 1) / page_tokens, end = first + count < pages ? first + count : pages;
    std::uint32_t queries[steps][2];
    PLAIT_UNROLL
    for (int i = 0; i < steps; ++i) {
      bf16_t const* const at = q + std::int64_t{g} * dim + 16 * i + 4 * j;
      bool const there = g < used_columns && 16 * i + 4 * j < dim;  // dim is a multiple of 8: all four or none
      queries[i][0] = there ? load_pair(at, a.q.aligned) : 0;
      queries[i][1] = there ? load_pair(at + 2, a.q.aligned) : 0;
    }
    float sums[halves][4][4] = {}, largest[2], total[2] = {};
    largest[0] = largest[1] = -std::numeric_limits<float>::infinity();

    std::int64_t const key_at = a.at.key(head, 0, 0), value_at = a.at.value(head, 0, 0);
    auto const page_at = [&](std::int64_t p) -> bf16_t const* { return p < end ? a.seqs.template page_of<bf16_t>(seq, p) : nullptr; };
    auto const tokens_of = [&](std::int64_t p) {
      std::int64_t const left = p < end ? cached - p * page_tokens : 0;
      return static_cast<int>(left < page_tokens ? left : page_tokens);
    };
    bf16_t const *page = page_at(first + w), *next = nullptr;
    words4 ring[ahead][4];
    PLAIT_UNROLL
    for (int x = 0; x < ahead; ++x) load(x, page, key_at, value_at, tokens_of(first + w), dim, g, j, ring[x]);
    for (std::int64_t p = first + w; p < end; p += warps, page = next) {
      next = page_at(p + warps);
      int const tokens = tokens_of(p), next_tokens = tokens_of(p + warps);
      float scores[4][4] = {};
      std::uint32_t weights[4][2];
      PLAIT_UNROLL
      for (int x = 0; x < pieces; ++x) {
        words4 now[4];
        PLAIT_UNROLL
        for (int c = 0; c < 4; ++c) now[c] = ring[x % ahead][c];
        if (x + ahead < pieces) load(x + ahead, page, key_at, value_at, tokens, dim, g, j, ring[x % ahead]);
        else load(x + ahead - pieces, next, key_at, value_at, next_tokens, dim, g, j, ring[x % ahead]);
        if (x == steps) weigh(b, tokens, a.scale, g, scores, largest, total, sums, weights);
        PLAIT_UNROLL
        for (int m = 0; m < 4; ++m) {
          std::uint32_t const wide[4] = {low_halves(now[0].word[m], now[1].word[m]), high_halves(now[0].word[m], now[1].word[m]),
                                         low_halves(now[2].word[m], now[3].word[m]), high_halves(now[2].word[m], now[3].word[m])};
          if (x < steps) b.mma(scores[m], wide, queries[x < steps ? x : 0]);
          else b.mma(sums[x < steps ? 0 : (x - steps) % halves][m], wide, weights[x < steps ? 0 : (x - steps) / halves]);
        }
      }
    }

    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      int const c = 2 * j + e;
      PLAIT_UNROLL
      for (int mask = 4; mask < warp_size; mask *= 2) total[e] += b.shuffle_xor(total[e], mask);
      if (g == 0) s.largest[w][c] = largest[e], s.total[w][c] = total[e];
      PLAIT_UNROLL
      for (int h = 0; h < halves; ++h)
        PLAIT_UNROLL
        for (int m = 0; m < 4; ++m) {
          s.sum[w][c][64 * h + 8 * g + 2 * m] = sums[h][m][e];
          s.sum[w][c][64 * h + 8 * g + 2 * m + 1] = sums[h][m][2 + e];
        }
    }
  }

  /// Scores of a page to weights, as mma wants them, and everything before scaled to the new maximum. scores[m][0, 1] are of token
  /// 8 g + 2 m and heads 2 j, 2 j + 1, scores[m][2, 3] of the next token. total is this lane's share.
  template <class Block>
  PLAIT_HD static void weigh(Block const& b, int tokens, float scale, int g, float (&scores)[4][4], float (&largest)[2], float (&total)[2],
                             float (&sums)[halves][4][4], std::uint32_t (&weights)[4][2]) {
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
      float const shift = here == nothing ? 0.0f : here * scale;  // nothing but NaN so far: there is no maximum to subtract
      float const before = kernels::exp2(largest[e] * scale - shift);
      largest[e] = here, total[e] *= before;
      PLAIT_UNROLL
      for (int m = 0; m < 4; ++m) {
        scores[m][e] = kernels::exp2(scores[m][e] * scale - shift), scores[m][2 + e] = kernels::exp2(scores[m][2 + e] * scale - shift);
        total[e] += scores[m][e] + scores[m][2 + e];
      }
      PLAIT_UNROLL
      for (int h = 0; h < halves; ++h)
        PLAIT_UNROLL
        for (int m = 0; m < 4; ++m) sums[h][m][e] *= before, sums[h][m][2 + e] *= before;
    }
    PLAIT_UNROLL
    for (int m = 0; m < 4; ++m) {
      weights[m][0] = transposed(b, pair_of(scores[m][0], scores[m][1]));
      weights[m][1] = transposed(b, pair_of(scores[m][2], scores[m][3]));
    }
  }
};

/// Block (row, query head): the parts of a row, merged in order.
template <class T>
struct attend_combine {
  static constexpr int threads = 128, most_splits = 256;
  struct args {
    attend_parts parts;
    rows_of<T> out;
    std::int64_t dim, splits;
    float scale;
  };
  template <class Block>
  struct shared {
    typename Block::reduce_space largest, total;
    float weight[most_splits];
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
      float const weight = of_part != 0 ? kernels::exp2((a.parts.largest[first + i] - most) * a.scale) : 0.0f;
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

}  // namespace plait::inline PLAIT_ABI::kernels
