// The attention kernel for many new tokens per sequence, with bf16 keys and values.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/fragments.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/attention/gpu/attention_parts.hpp>
#include <plait/ops/attention/gpu/sequence_tiles.hpp>
#include <plait/policy/precision.hpp>

#include <limits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (tile and split, key head): a tile has `rows` rows, 16 per warp; a row is a query of one
/// head, `group_size` rows per token. The block walks the pages up to the last one that a row sees.
/// Keys and values are copied to shared memory in steps of `step` tokens: values while scores are
/// computed from keys, the next keys while values are summed. The 16-byte chunks are permuted
/// (xor), so that fragments for mma are read without bank conflicts. Scores stay in registers;
/// rounded to bf16, a fragment of scores is the operand of the next product as it is.
///
/// A weight of zero does not keep a NaN or an infinity out of a product. Where some rows see less
/// of a step than others, values that are not finite are therefore added separately to the rows
/// that see them, and removed from the tile.
/// Cost: keys and values read once per tile; with a dim above 128, 32 tokens per step instead of
///   64, and the scores computed twice
/// Source: FlashAttention-2: Dao, arXiv:2307.08691
/// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
template <int Dim, bool Padded, int Warps>
struct attention_prefill {
  static_assert(Dim == 64 || Dim == 128 || Dim == 256);
  static constexpr int threads = Warps * warp_size, step = Dim <= 128 ? 64 : 32;
  static constexpr int min_blocks_per_multiprocessor = Dim <= 64 ? 3 : Dim <= 128 ? 2 : 1;
  /// Warps that share rows; each sums a part of the dimensions. The sums of 256 dimensions would
  /// leave no registers for anything else.
  static constexpr int slices = Dim <= 128 ? 1 : 2, rows = 16 * Warps / slices;
  struct args {
    sequences<bf16_t> seqs;
    rows_of<bf16_t const> q;
    rows_of<bf16_t> out;  ///< may be q
    attention_parts parts;
    page_layout layout;  ///< dim is Dim, or, where Padded, a multiple of 8 below it
    std::int64_t group_size, splits;
    float scale;  ///< log2(e) / sqrt(dim)
    /// For a call of one sequence: the number of leading new tokens whose output exists already.
    /// Rows of q and out begin with the token after them.
    std::int64_t computed_tokens = 0;
  };
  template <class Block>
  struct shared {
    alignas(16) std::uint16_t keys[Dim * step], values[step * Dim];
    // Row and column of the output for each row of the tile, in shared memory to save registers.
    // -1: past the last row.
    int row[rows], column[rows];
    typename Block::reduce_space any;
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    // The last tiles of a sequence see the most keys: they start first.
    auto const x = static_cast<std::uint32_t>(b.x()), splits = static_cast<std::uint32_t>(a.splits);
    auto const group_size = static_cast<std::uint32_t>(a.group_size);
    std::int64_t const number = static_cast<std::uint32_t>(b.grid_x()) / splits - 1 - x / splits;
    std::int64_t const split = x % splits;
    std::int64_t const head = b.y();
    std::int64_t const seq = sequence_of_tile(a.seqs, a.group_size, rows, number);
    std::int64_t const cached = a.seqs.length[seq] + a.computed_tokens;
    std::int64_t const new_tokens = a.seqs.tokens(seq) - a.computed_tokens;
    std::int64_t const first = (number - first_tile(a.seqs, a.group_size, rows, seq)) * rows;
    std::int64_t const all = new_tokens * a.group_size;
    if (first >= all) return;
    int const dim = dim_of(a), g = b.lane() / 4, j = b.lane() % 4;
    std::int64_t const end = first + rows < all ? first + rows : all;
    std::int64_t const first_token = first / a.group_size;
    auto const first_head = static_cast<std::uint32_t>(first - first_token * a.group_size);
    std::int64_t const lowest = cached + first_token;
    std::int64_t const highest = cached + (end - 1) / a.group_size;
    std::int64_t const stored = cached + new_tokens;
    split_sizes const sizes(highest / step + 1, a.splits);
    std::int64_t const begin = split * sizes.per_split;
    std::int64_t const split_end = begin + sizes.per_split;
    std::int64_t const max_end = highest / step + 1;
    int const from = static_cast<int>(begin);
    int const to = static_cast<int>(split_end < max_end ? split_end : max_end);

    // This lane's rows, and the last token of the current step that each sees. Rows past the last
    // one see all tokens and are not written.
    int const w = b.warp() / slices, slice = b.warp() % slices;
    int last_visible[2];
    std::uint32_t queries[Dim / 16][4] = {};
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      int const i = 16 * w + g + 8 * e;
      std::uint32_t const r = first_head + static_cast<std::uint32_t>(i), token = r / group_size;
      bool const valid = first + i < all;
      std::int64_t const row = a.seqs.first_row[seq] + first_token + token;
      std::int64_t const column = head * a.group_size + r % group_size;
      last_visible[e] = static_cast<int>((valid ? cached + first_token + token : stored) -
                                         std::int64_t{from} * step);
      if (j == 0 && slice == 0) {
        s.row[i] = valid ? static_cast<int>(row) : -1;
        s.column[i] = static_cast<int>(column);
      }
      if (split >= sizes.used) {
        if (valid && j == 0 && slice == 0)
          a.parts.total[(row * (a.layout.heads * a.group_size) + column) * a.splits + split] = 0;
        continue;
      }
      bf16_t const* const q = a.q.row(row) + column * dim + 2 * j;
      PLAIT_UNROLL
      for (int k = 0; k < Dim / 16; ++k) PLAIT_UNROLL
      for (int h = 0; h < 2; ++h)
        queries[k][2 * h + e] = valid && (!Padded || 16 * k + 8 * h < dim)
                                    ? load_pair(q + 16 * k + 8 * h, a.q.aligned)
                                    : 0;
    }
    if (split >= sizes.used) return;
    float sums[Dim / 8 / slices][4] = {}, maximum[2], total[2] = {};
    maximum[0] = maximum[1] = -std::numeric_limits<float>::infinity();
    bool const has_rows = first + 16 * w < all;  // the same for all lanes of the warp

    if (Padded) {
      for (int i = b.thread(); i < (Dim - dim) * step / 8; i += threads)
        *reinterpret_cast<words4*>(s.keys + dim * step + 8 * i) = {};
      for (int i = b.thread(); i < step * (Dim - dim) / 8; i += threads)
        *reinterpret_cast<words4*>(
            value_chunk(s, i / ((Dim - dim) / 8), dim / 8 + i % ((Dim - dim) / 8))) = {};
    }
    std::byte* const* const table = a.seqs.pages[seq];
    std::int64_t const keys_at = a.seqs.page_offset + a.layout.key(head, 0, 0);
    std::int64_t const values_at = a.seqs.page_offset + a.layout.value(head, 0, 0);
    int tokens = static_cast<int>(stored - std::int64_t{from} * step);
    int below = static_cast<int>(lowest - std::int64_t{from} * step);
    copy_keys(b, s, table, keys_at, from, dim);
    for (int n = from; n < to;
         ++n, tokens -= step, below -= step, last_visible[0] -= step, last_visible[1] -= step) {
      int const width = Padded ? opaque(dim) : Dim;
      wait_for_copies<0>(b);
      b.sync();  // the keys are visible, and the values of the last step are no longer read
      copy_values(b, s, table, values_at, n, tokens, width);
      float scores[step / 8][4] = {};
      bool const edge = below < step - 1;
      if (has_rows) {
        PLAIT_UNROLL
        for (int k = 0; k < Dim / 16; ++k) PLAIT_UNROLL
        for (int t = 0; t < step / 8; t += 2) {
          std::uint32_t four[4];
          load_transposed(b, key_chunk(s, 16 * k + b.lane() % 16, t + b.lane() / 16), four);
          b.mma(scores[t], queries[k], {four[0], four[1]});
          b.mma(scores[t + 1], queries[k], {four[2], four[3]});
        }
        softmax_step(b, edge, last_visible, a.scale, scores, maximum, total, sums);
      }
      wait_for_copies<0>(b);
      b.sync();  // the values are visible, and the keys are no longer read
      if (n + 1 < to) copy_keys(b, s, table, keys_at, n + 1, width);
      if (edge) remove_non_finite(b, s, last_visible, tokens, slice, sums);
      if (has_rows) {
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
                            value_chunk(s, 16 * t + b.lane() % 16,
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
      int const i = 16 * w + g + 8 * e;
      int const row = s.row[i];
      int const first_column = 8 * slice * (Dim / 8 / slices);
      if (row < 0) continue;
      if (a.parts.sum != nullptr) {
        std::int64_t const part =
            (row * (a.layout.heads * a.group_size) + s.column[i]) * a.splits + split;
        if (j == 0 && slice == 0) {
          a.parts.maximum[part] = maximum[e];
          a.parts.total[part] = total[e];
        }
        float* const at = a.parts.sum + part * dim + first_column + 2 * j;
        PLAIT_UNROLL
        for (int c = 0; c < Dim / 8 / slices; ++c)
          if (!Padded || first_column + 8 * c < dim) {
            at[8 * c] = sums[c][2 * e];
            at[8 * c + 1] = sums[c][2 * e + 1];
          }
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
  PLAIT_HD static int dim_of(args const& a) {
    return Padded ? static_cast<int>(a.layout.dim) : Dim;
  }

  /// Chunk of eight tokens of dimension d; chunk of eight dimensions of token t.
  template <class Shared>
  PLAIT_HD static std::uint16_t* key_chunk(Shared& s, int d, int chunk) {
    return s.keys + d * step + 8 * (chunk ^ (step == 64 ? d & 7 : d >> 1 & 3));
  }
  template <class Shared>
  PLAIT_HD static std::uint16_t* value_chunk(Shared& s, int t, int chunk) {
    return s.values + t * Dim + 8 * (chunk ^ (t & 7));
  }

  template <class Block>
  PLAIT_HD static void copy_keys(Block const& b, shared<Block>& s, std::byte* const* table,
                                 std::int64_t at, int n, int dim) {
    constexpr int chunks = step / 8, per_page = page_tokens / step;
    bf16_t const* const from =
        reinterpret_cast<bf16_t const*>(table[n / per_page]) + at + n % per_page * step;
    for (int i = b.thread(); i < dim * chunks; i += threads)
      b.copy_async(key_chunk(s, i / chunks, i % chunks),
                   from + int{page_tokens} * (i / chunks) + 8 * (i % chunks));
    b.commit_copies();
  }
  /// Copies the first `tokens` tokens of a step; the others are zero.
  template <class Block>
  PLAIT_HD static void copy_values(Block const& b, shared<Block>& s, std::byte* const* table,
                                   std::int64_t at, int n, int tokens, int dim) {
    constexpr int per_page = page_tokens / step;
    bf16_t const* const from =
        reinterpret_cast<bf16_t const*>(table[n / per_page]) + at + n % per_page * step * dim;
    int const chunks = dim / 8;
    int t = b.thread() / chunks, chunk = b.thread() % chunks;
    int const token_stride = threads / chunks, chunk_stride = threads % chunks;
    for (; t < step; t += token_stride, chunk += chunk_stride) {
      if (chunk >= chunks) {
        chunk -= chunks;
        if (++t >= step) break;
      }
      b.copy_async(value_chunk(s, t, chunk), from + (t * chunks + chunk) * 8, t < tokens);
    }
    b.commit_copies();
  }

  /// One step of the online softmax. scores[t][0, 1] are those of the first row and tokens 8 t + 2
  /// j, + 1, scores[t][2, 3] those of the second row. With `edge`, scores after last_visible are
  /// masked.
  template <class Block>
  PLAIT_HD static void softmax_step(Block const& b, bool edge, int const (&last_visible)[2],
                                    float scale, float (&scores)[step / 8][4], float (&maximum)[2],
                                    float (&total)[2], float (&sums)[Dim / 8 / slices][4]) {
    constexpr float no_score = -std::numeric_limits<float>::infinity();
    if (edge) {
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t) PLAIT_UNROLL
      for (int i = 0; i < 4; ++i)
        if (8 * t + 2 * (b.lane() % 4) + i % 2 > last_visible[i / 2]) scores[t][i] = no_score;
    }
    PLAIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      float new_maximum = maximum[e];
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t)
        new_maximum = fmaxf(new_maximum, fmaxf(scores[t][2 * e], scores[t][2 * e + 1]));
      new_maximum = fmaxf(new_maximum, b.shuffle_xor(new_maximum, 1));
      new_maximum = fmaxf(new_maximum, b.shuffle_xor(new_maximum, 2));
      // No score up to here, or NaN alone: no maximum to subtract.
      float const shift = new_maximum == no_score ? 0.0f : new_maximum * scale;
      float const rescale = kernels::exp2(maximum[e] * scale - shift);
      maximum[e] = new_maximum;
      total[e] *= rescale;
      PLAIT_UNROLL
      for (int t = 0; t < step / 8; ++t) PLAIT_UNROLL
      for (int i = 2 * e; i < 2 * e + 2; ++i) {
        scores[t][i] = kernels::exp2(scores[t][i] * scale - shift);
        total[e] += scores[t][i];
      }
      PLAIT_UNROLL
      for (int c = 0; c < Dim / 8 / slices; ++c) {
        sums[c][2 * e] *= rescale;
        sums[c][2 * e + 1] *= rescale;
      }
    }
  }

  PLAIT_HD static bool finite(std::uint16_t bits) { return (bits & 0x7f80u) != 0x7f80u; }

  /// Adds values that are not finite to the sums of the rows that see them, and replaces them by
  /// zeros in shared memory.
  template <class Block>
  PLAIT_HD static void remove_non_finite(Block const& b, shared<Block>& s,
                                         int const (&last_visible)[2], int tokens, int slice,
                                         float (&sums)[Dim / 8 / slices][4]) {
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
      value.bits = value_chunk(s, t, slice * (Dim / 8 / slices) + c)[2 * j + i % 2];
      if (!finite(value.bits) && t <= last_visible[i / 2]) sums[c][i] += widen(value);
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
