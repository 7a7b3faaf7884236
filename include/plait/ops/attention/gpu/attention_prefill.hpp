// Many new tokens a sequence: attention by tiles of queries, bf16 keys and values
// (FlashAttention-2: Dao, arXiv:2307.08691). Many new tokens: a block takes a tile of 64 rows, a
// row a query of one head, and walks the pages up to the last one that a row sees.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/fragments.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/append_pages.hpp>
#include <plait/ops/attention/gpu/attention_decode.hpp>
#include <plait/policy/precision.hpp>

#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (tile and split, key head): a row is a query of one head, `group_size` of them a token; 16
/// rows
/// a warp, `rows` a tile. Keys and values come in steps of `step` tokens to shared memory, values
/// while scores are made of keys, the next keys while values are added up; 16-byte chunks stand
/// there in an order (xor) in which mma's fragments are read without bank conflicts. A fragment of
/// scores is, rounded to bf16, the operand of the next product as it is.
///
/// A weight of zero does not keep a NaN or an infinity out of a product. Where some rows see less
/// of a step than others, values that are not finite are therefore looked for, added to the rows
/// that see them, and taken out of the tile.
/// Equation: scores of 16 rows a warp and 64 keys (32 above a dim of 128) stay in registers,
///   rounded to bf16 they are the operand of the product with the values
/// Cost: keys and values read once a tile; above a dim of 128 the scores are made twice
/// Source: FlashAttention-2: Dao, arXiv:2307.08691
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <int Dim, bool Padded, int Warps>
struct attention_prefill {
  static_assert(Dim == 64 || Dim == 128 || Dim == 256);
  static constexpr int threads = Warps * warp_size, step = Dim <= 128 ? 64 : 32,
                       blocks = Dim <= 64    ? 3
                                : Dim <= 128 ? 2
                                             : 1;
  /// Warps that group_size rows and have a part of the dimensions each: the sums of 256 would not
  /// leave
  /// room for anything else.
  static constexpr int slices = Dim <= 128 ? 1 : 2, rows = 16 * Warps / slices;
  struct args {
    sequences<bf16_t> seqs;
    rows_of<bf16_t const> q;
    rows_of<bf16_t> out;  ///< may be q
    attention_parts parts;
    page_layout at;  ///< dim is Dim, or, where Padded, a multiple of 8 below it
    std::int64_t group_size, splits;
    float scale;  ///< log2(e) / sqrt(dim)
    /// Of a single sequence: so many of its first new tokens have been attended to already, and q
    /// and out begin behind them.
    std::int64_t done = 0;
  };
  template <class Block>
  struct shared {
    alignas(16) std::uint16_t keys[Dim * step], values[step * Dim];
    int row[rows],
        column[rows];  ///< -1: there is no such row. Kept here, not in registers, for the end
    typename Block::reduce_space any;
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    // The last tiles of a sequence see the most keys: they come first.
    auto const x = static_cast<std::uint32_t>(b.x()), splits = static_cast<std::uint32_t>(a.splits);
    auto const group_size = static_cast<std::uint32_t>(a.group_size);
    std::int64_t const number = static_cast<std::uint32_t>(b.grid_x()) / splits - 1 - x / splits,
                       split = x % splits, head = b.y();
    std::int64_t const seq = sequence_of_tile(a.seqs, a.group_size, rows, number),
                       cached = a.seqs.length[seq] + a.done;
    std::int64_t const tokens_here = a.seqs.tokens(seq) - a.done;
    std::int64_t const first = (number - first_tile(a.seqs, a.group_size, rows, seq)) * rows,
                       all = tokens_here * a.group_size;
    if (first >= all) return;
    int const dim = dim_of(a), g = b.lane() / 4, j = b.lane() % 4;
    std::int64_t const end = first + rows < all ? first + rows : all;
    std::int64_t const first_token = first / a.group_size;
    auto const first_head = static_cast<std::uint32_t>(first - first_token * a.group_size);
    std::int64_t const lowest = cached + first_token, highest = cached + (end - 1) / a.group_size,
                       stored = cached + tokens_here;
    split_shares const shares(highest / step + 1, a.splits);
    std::int64_t const begin = split * shares.each, upto = begin + shares.each,
                       most = highest / step + 1;
    int const from = static_cast<int>(begin), to = static_cast<int>(upto < most ? upto : most);

    // This lane's rows: where they are, and up to which token of the current step they see. Rows
    // behind the last one see all and are not written.
    int const w = b.warp() / slices, slice = b.warp() % slices;
    int seen[2];
    std::uint32_t queries[Dim / 16][4] = {};
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      int const i = 16 * w + g + 8 * e;
      std::uint32_t const r = first_head + static_cast<std::uint32_t>(i), token = r / group_size;
      bool const there = first + i < all;
      std::int64_t const row = a.seqs.first_row[seq] + first_token + token,
                         column = head * a.group_size + r % group_size;
      seen[e] = static_cast<int>((there ? cached + first_token + token : stored) -
                                 std::int64_t{from} * step);
      if (j == 0 && slice == 0) {
        s.row[i] = there ? static_cast<int>(row) : -1;
        s.column[i] = static_cast<int>(column);
      }
      if (split >= shares.used) {
        if (there && j == 0 && slice == 0)
          a.parts.total[(row * (a.at.heads * a.group_size) + column) * a.splits + split] = 0;
        continue;
      }
      bf16_t const* const q = a.q.row(row) + column * dim + 2 * j;
      PLAIT_UNROLL
      for (int k = 0; k < Dim / 16; ++k) PLAIT_UNROLL
      for (int h = 0; h < 2; ++h)
        queries[k][2 * h + e] = there && (!Padded || 16 * k + 8 * h < dim)
                                    ? load_pair(q + 16 * k + 8 * h, a.q.aligned)
                                    : 0;
    }
    if (split >= shares.used) return;
    float sums[Dim / 8 / slices][4] = {}, largest[2], total[2] = {};
    largest[0] = largest[1] = -std::numeric_limits<float>::infinity();
    bool const busy = first + 16 * w < all;  // of all lanes of the warp alike

    if (Padded) {
      for (int i = b.thread(); i < (Dim - dim) * step / 8; i += threads)
        *reinterpret_cast<words4*>(s.keys + dim * step + 8 * i) = {};
      for (int i = b.thread(); i < step * (Dim - dim) / 8; i += threads)
        *reinterpret_cast<words4*>(
            value_place(s, i / ((Dim - dim) / 8), dim / 8 + i % ((Dim - dim) / 8))) = {};
    }
    std::byte* const* const table = a.seqs.pages[seq];
    std::int64_t const keys_at = a.seqs.page_offset + a.at.key(head, 0, 0),
                       values_at = a.seqs.page_offset + a.at.value(head, 0, 0);
    int tokens = static_cast<int>(stored - std::int64_t{from} * step),
        below = static_cast<int>(lowest - std::int64_t{from} * step);
    copy_keys(b, s, table, keys_at, from, dim);
    for (int n = from; n < to;
         ++n, tokens -= step, below -= step, seen[0] -= step, seen[1] -= step) {
      int const width = Padded ? opaque(dim) : Dim;
      copies_left<0>(b);
      b.sync();  // the keys are there, and nobody reads the last step's values any more
      copy_values(b, s, table, values_at, n, tokens, width);
      float scores[step / 8][4] = {};
      bool const edge = below < step - 1;
      if (busy) {
        PLAIT_UNROLL
        for (int k = 0; k < Dim / 16; ++k) PLAIT_UNROLL
        for (int t = 0; t < step / 8; t += 2) {
          std::uint32_t four[4];
          load_transposed(b, key_place(s, 16 * k + b.lane() % 16, t + b.lane() / 16), four);
          b.mma(scores[t], queries[k], {four[0], four[1]});
          b.mma(scores[t + 1], queries[k], {four[2], four[3]});
        }
        weigh(b, edge, seen, a.scale, scores, largest, total, sums);
      }
      copies_left<0>(b);
      b.sync();  // the values are there, and nobody reads the keys any more
      if (n + 1 < to) copy_keys(b, s, table, keys_at, n + 1, width);
      if (edge) take_out(b, s, seen, tokens, slice, sums);
      if (busy) {
        PLAIT_UNROLL
        for (int t = 0; t < step / 16; ++t) {
          std::uint32_t const weights[4] = {
              narrow_pair(scores[2 * t][0], scores[2 * t][1]),
              narrow_pair(scores[2 * t][2], scores[2 * t][3]),
              narrow_pair(scores[2 * t + 1][0], scores[2 * t + 1][1]),
              narrow_pair(scores[2 * t + 1][2], scores[2 * t + 1][3])};
          PLAIT_UNROLL
          for (int c = 0; c < Dim / 8 / slices; c += 2) {
            std::uint32_t four[4];
            load_transposed(b,
                            value_place(s, 16 * t + b.lane() % 16,
                                        slice * (Dim / 8 / slices) + c + b.lane() / 16),
                            four);
            b.mma(sums[c], weights, {four[0], four[1]});
            b.mma(sums[c + 1], weights, {four[2], four[3]});
          }
        }
      }
    }

    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      total[e] += b.shuffle_xor(total[e], 1);
      total[e] += b.shuffle_xor(total[e], 2);
      int const i = 16 * w + g + 8 * e, row = s.row[i],
                first_column = 8 * slice * (Dim / 8 / slices);
      if (row < 0) continue;
      if (a.parts.sum != nullptr) {
        std::int64_t const part =
            (row * (a.at.heads * a.group_size) + s.column[i]) * a.splits + split;
        if (j == 0 && slice == 0) {
          a.parts.largest[part] = largest[e];
          a.parts.total[part] = total[e];
        }
        float* const at = a.parts.sum + part * dim + first_column + 2 * j;
        PLAIT_UNROLL
        for (int c = 0; c < Dim / 8 / slices; ++c)
          if (!Padded || first_column + 8 * c < dim)
            at[8 * c] = sums[c][2 * e], at[8 * c + 1] = sums[c][2 * e + 1];
      } else {
        bf16_t* const at = a.out.row(row) + std::int64_t{s.column[i]} * dim + first_column + 2 * j;
        PLAIT_UNROLL
        for (int c = 0; c < Dim / 8 / slices; ++c)
          if (!Padded || first_column + 8 * c < dim) {
            float const left = sums[c][2 * e] / total[e], right = sums[c][2 * e + 1] / total[e];
            if (a.out.aligned)
              *reinterpret_cast<std::uint32_t*>(at + 8 * c) = narrow_pair(left, right);
            else {
              at[8 * c] = narrow<bf16_t>(left);
              at[8 * c + 1] = narrow<bf16_t>(right);
            }
          }
      }
    }
  }

 private:
  PLAIT_HD static int dim_of(args const& a) { return Padded ? static_cast<int>(a.at.dim) : Dim; }

  /// Eight tokens of a dimension; eight dimensions of a token.
  template <class Shared>
  PLAIT_HD static std::uint16_t* key_place(Shared& s, int d, int chunk) {
    return s.keys + d * step + 8 * (chunk ^ (step == 64 ? d & 7 : d >> 1 & 3));
  }
  template <class Shared>
  PLAIT_HD static std::uint16_t* value_place(Shared& s, int t, int chunk) {
    return s.values + t * Dim + 8 * (chunk ^ (t & 7));
  }

  template <class Block>
  PLAIT_HD static void copy_keys(Block const& b, shared<Block>& s, std::byte* const* table,
                                 std::int64_t at, int n, int dim) {
    constexpr int chunks = step / 8, per_page = page_tokens / step;
    bf16_t const* const from =
        reinterpret_cast<bf16_t const*>(table[n / per_page]) + at + n % per_page * step;
    for (int i = b.thread(); i < dim * chunks; i += threads)
      b.copy_async(key_place(s, i / chunks, i % chunks),
                   from + int{page_tokens} * (i / chunks) + 8 * (i % chunks));
    b.copies_end();
  }
  /// The first `tokens` of a step; zeros behind.
  template <class Block>
  PLAIT_HD static void copy_values(Block const& b, shared<Block>& s, std::byte* const* table,
                                   std::int64_t at, int n, int tokens, int dim) {
    constexpr int per_page = page_tokens / step;
    bf16_t const* const from =
        reinterpret_cast<bf16_t const*>(table[n / per_page]) + at + n % per_page * step * dim;
    int const chunks = dim / 8;
    int t = b.thread() / chunks, chunk = b.thread() % chunks;
    int const down = threads / chunks,
              right = threads % chunks;  // to the next chunk of this thread
    for (; t < step; t += down, chunk += right) {
      if (chunk >= chunks) {
        chunk -= chunks;
        if (++t >= step) break;
      }
      b.copy_async(value_place(s, t, chunk), from + (t * chunks + chunk) * 8, t < tokens);
    }
    b.copies_end();
  }

  /// scores[t][0, 1] are of the first row and tokens 8 t + 2 j, + 1, scores[t][2, 3] of the second
  /// one; a row sees tokens up to `seen`.
  template <class Block>
  PLAIT_HD static void weigh(Block const& b, bool edge, int const (&seen)[2], float scale,
                             float (&scores)[step / 8][4], float (&largest)[2], float (&total)[2],
                             float (&sums)[Dim / 8 / slices][4]) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    if (edge) {
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t) PLAIT_UNROLL
      for (int i = 0; i < 4; ++i)
        if (8 * t + 2 * (b.lane() % 4) + i % 2 > seen[i / 2]) scores[t][i] = nothing;
    }
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      float here = largest[e];
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t)
        here = fmaxf(here, fmaxf(scores[t][2 * e], scores[t][2 * e + 1]));
      here = fmaxf(here, b.shuffle_xor(here, 1));
      here = fmaxf(here, b.shuffle_xor(here, 2));
      float const shift =
          here == nothing ? 0.0f : here * scale;  // nothing but NaN, or nothing at all, so far
      float const before = kernels::exp2(largest[e] * scale - shift);
      largest[e] = here;
      total[e] *= before;
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t) PLAIT_UNROLL
      for (int i = 2 * e; i < 2 * e + 2; ++i)
        scores[t][i] = kernels::exp2(scores[t][i] * scale - shift), total[e] += scores[t][i];
      PLAIT_UNROLL
      for (int c = 0; c < Dim / 8 / slices; ++c)
        sums[c][2 * e] *= before, sums[c][2 * e + 1] *= before;
    }
  }

  PLAIT_HD static bool finite(std::uint16_t bits) { return (bits & 0x7f80u) != 0x7f80u; }

  /// Values that are not finite: to the sums of the rows that see them, and zeros in their places.
  template <class Block>
  PLAIT_HD static void take_out(Block const& b, shared<Block>& s, int const (&seen)[2], int tokens,
                                int slice, float (&sums)[Dim / 8 / slices][4]) {
    bool all_finite = true;
    for (int i = b.thread(); i < step * Dim / 8; i += threads) {
      words4 const w = reinterpret_cast<words4 const*>(s.values)[i];
      PLAIT_UNROLL
      for (int c = 0; c < 4; ++c)
        all_finite = all_finite && finite(static_cast<std::uint16_t>(w.word[c])) &&
                     finite(static_cast<std::uint16_t>(w.word[c] >> 16));
    }
    if (b.maximum(s.any, all_finite ? 0.0f : 1.0f) == 0.0f) return;
    int const j = b.lane() % 4;
    for (int t = 0; t < step && t < tokens; ++t) PLAIT_UNROLL
    for (int c = 0; c < Dim / 8 / slices; ++c) PLAIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      bf16_t value;
      value.bits = value_place(s, t, slice * (Dim / 8 / slices) + c)[2 * j + i % 2];
      if (!finite(value.bits) && t <= seen[i / 2]) sums[c][i] += widen(value);
    }
    b.sync();
    for (int i = b.thread(); i < step * Dim; i += threads)
      if (!finite(s.values[i])) s.values[i] = 0;
    b.sync();
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
