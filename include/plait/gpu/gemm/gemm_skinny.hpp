// Products of few rows with bf16 and int8 weights on tensor cores. The time is that of reading the
// weights, once.
//
// The weights, 16 rows at a time, are the M operand of mma.m16n8k16; eight rows of activations are
// N. K is permuted within blocks of 32 columns, the same for both operands, so that a lane's part
// of either is 16 consecutive bytes of a row (of int8 weights: of a tile, gpu/device_weights.hpp).
// Weights bypass the L1 cache, with several tiles per warp pending. The warps of a block split its
// columns and add their sums in a fixed order.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Epilogue that applies the short convolution and SiLU to the first `channels` columns of y, where
/// row s is the one new token of sequence s (ops/short_conv/conv_silu.hpp): y is the convolution's
/// next input and is not written, the window moves on by one, and u[s, n] is the result.
struct conv_epilogue {
  bf16_t* u = nullptr;  ///< null: no epilogue
  std::int64_t u_stride = 0;
  std::int64_t channels = 0;
  std::int64_t width = 0;
  float const* taps = nullptr;  ///< [width][channels]
  float const* bias = nullptr;  ///< [channels] or null
  float* const* state = nullptr;
  std::int64_t state_offset = 0;

  PLAIT_HD void step(std::int64_t s, std::int64_t n, float y) const {
    float const input = widen(narrow<bf16_t>(y));
    float* const window = state[s] + state_offset + n;
    float sum = bias != nullptr ? bias[n] : 0.0f;
    for (std::int64_t k = 0; k + 1 < width; ++k) {
      sum = fmaf(taps[k * channels + n], window[k * channels], sum);
      if (k > 0) window[(k - 1) * channels] = window[k * channels];
    }
    if (width > 1) window[(width - 2) * channels] = input;
    u[s * u_stride + n] = narrow<bf16_t>(silu(fmaf(taps[(width - 1) * channels + n], input, sum)));
  }
};

/// Arguments of gemm_skinny: y[row, n] = sum_k x[row, k] W[n, k] (+ bias[n]) for up to
/// `max_outputs` W, or, gated, silu(x W^T) * (x up^T).
///
/// Without `first`, rows are [0, rows). With it, rows are [begin, end) of rows grouped by expert
/// (ops/routing/route.hpp), and each expert has its own copy of the weights: row r is row token[r]
/// of x, or r - begin without `token`, and row r - y_from of y.
///
/// Shapes: x at multiples of 16 bytes and finite up to the next multiple of 8 columns
template <dtype Stored>
struct gemm_skinny_args {
  static constexpr int max_outputs = 4;
  struct output {
    device_weights<Stored> weight;
    float const* bias = nullptr;
    void* y = nullptr;
    std::int64_t y_stride = 0;
    std::int64_t y_cols = 0;       ///< gated: rows of W and up to 15 columns of zeros
    std::int64_t first_block = 0;  ///< of this output in the launch
  };

  output outputs[max_outputs];
  int count = 1;
  bool y_is_float = false;    ///< else bf16_t
  device_weights<Stored> up;  ///< gated
  bf16_t const* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t rows = 0;    ///< without `first`
  std::int64_t groups = 1;  ///< of 8 Tiles rows; with `first` an upper bound
  int k_warps = 1;          ///< warps of a block that split the columns; a power of two
  std::int32_t const* first = nullptr;
  std::int32_t const* token = nullptr;
  std::int64_t experts = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t y_from = 0;
  conv_epilogue conv;
};

/// Finds group `group` of the rows [begin, end), each expert's rows cut into groups of `size`: its
/// expert, first row and number of rows, the same for every lane. False if there are fewer groups.
template <class Block>
PLAIT_HD inline bool find_group(Block const& b, std::int32_t const* first, std::int64_t experts,
                                std::int64_t begin, std::int64_t end, int size, std::int64_t group,
                                std::int64_t& expert, std::int64_t& row, std::int64_t& rows) {
  int const lane = b.lane();
  for (std::int64_t base = 0; base < experts; base += warp_size) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    if (base + lane < experts) {
      low = first[base + lane];
      high = first[base + lane + 1];
      low = low < begin ? begin : low;
      high = high > end ? end : high;
    }
    int const groups = high > low ? static_cast<int>((high - low + size - 1) / size) : 0;
    int scan = groups;  // groups of this lane's expert and of those before it
    PLAIT_UNROLL
    for (int step = 1; step < warp_size; step *= 2) {
      int const before = b.shuffle(scan, lane >= step ? lane - step : lane);
      if (lane >= step) scan += before;
    }
    int const all = b.shuffle(scan, warp_size - 1);
    if (group < all) {
      int owner = scan <= group ? 1 : 0;
      PLAIT_UNROLL
      for (int mask = warp_size / 2; mask > 0; mask /= 2) owner += b.shuffle_xor(owner, mask);
      int const nth = static_cast<int>(group) - b.shuffle(scan - groups, owner);
      std::int64_t const last = b.shuffle(static_cast<int>(high), owner);
      expert = base + owner;
      row = b.shuffle(static_cast<int>(low), owner) + std::int64_t{nth} * size;
      rows = last - row < size ? last - row : size;
      return true;
    }
    group -= all;
  }
  return false;
}

/// Skinny product of groups of 8 Tiles rows. Block g + groups p computes part p of the outputs'
/// rows for group g: blocks that read the same weights run at the same time.
///
/// Equation: y = x W^T (+ bias), or silu(x W^T) * (x up^T). int8 widens to bf16 exactly; the sum
///   over 32 columns, which share a scale, is f32, and is added with one multiply-add by the scale.
///   Only y is rounded
/// Shapes: 1, 2, 4 or 8 tiles of 8 rows share each load of weights. x at multiples of 16 bytes and
///   finite up to the next multiple of 8 columns
/// Cost: weights are read once per 64 rows, x once per block; one launch for all outputs
/// Test: tests/unit/ops/linear/linear_gpu_test.cpp,
///   tests/unit/ops/linear/gated_linear_gpu_test.cpp, tests/unit/ops/routing/experts_gpu_test.cpp
template <dtype Stored, int Tiles, bool Gated>
struct gemm_skinny {
  static_assert(Stored != dtype::f32);
  using args = gemm_skinny_args<Stored>;
  static constexpr int warps = 8;
  static constexpr int threads = warps * warp_size;
  static constexpr int min_blocks_per_multiprocessor = (Gated ? Tiles < 2 : Tiles <= 4) ? 2 : 0;
  static constexpr int rows_per_group = 8 * Tiles;
  /// Tiles of 16 weight rows per warp: two share each load of x, as gate and up do.
  static constexpr int sets = Gated || Tiles > 4 ? 2 : 1;
  static constexpr int row_tiles = Gated ? 1 : sets;           ///< sets that are rows of y
  static constexpr int parts = Stored == dtype::int8 ? 1 : 2;  ///< loads per tile and lane
  /// Blocks of 32 columns that a warp has pending.
  static constexpr int depth = Stored == dtype::int8    ? (Tiles < 4 && sets == 1 ? 8 : 4)
                               : Tiles < 4 && sets == 1 ? 4
                                                        : 2;
  static_assert(Stored != dtype::int8 || depth % 4 == 0);  // scales are loaded for four tiles
  /// Tiles of rows that the warps add up together.
  static constexpr int tiles_per_sum = Tiles < 2 ? Tiles : 2;

  template <class>
  struct shared {
    float sums[warps][tiles_per_sum][sets][4][warp_size];
  };

  /// This lane's part of a tile of 16 rows and 32 columns of weights, for each set.
  struct tile_words {
    words4 words[sets][parts];
  };
  /// Scales of four tiles: lane l has those of two rows of tile l / 8.
  struct scale_words {
    std::uint32_t words[Stored == dtype::int8 ? depth / 4 : 1][sets];
  };
  /// Weights as operands of mma.
  struct fragments {
    std::uint32_t a[sets][2][4];
    float scales[sets][2];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const group = b.x() % a.groups;
    std::int64_t const part = b.x() / a.groups;
    std::int64_t expert = 0;
    std::int64_t row = group * rows_per_group;
    std::int64_t rows = a.rows - row;
    if (a.first != nullptr) {
      if (!find_group(b, a.first, a.experts, a.begin, a.end, rows_per_group, group, expert, row,
                      rows))
        return;
    } else if (rows > rows_per_group) {
      rows = rows_per_group;
    }
    typename args::output out = a.outputs[0];
    PLAIT_UNROLL
    for (int i = 1; i < args::max_outputs; ++i)
      if (i < a.count && part >= a.outputs[i].first_block) out = a.outputs[i];

    int const lane = b.lane();
    int const k_warp = b.warp() % a.k_warps;
    int const m_warp = b.warp() / a.k_warps;
    int const m_warps = warps / a.k_warps;
    std::int64_t const block_tile = (part - out.first_block) * m_warps * row_tiles;
    std::int64_t const tile = block_tile + m_warp * row_tiles;
    std::int64_t const cols = out.weight.cols;
    std::int64_t const k_blocks = out.weight.col_tiles();

    // This lane's part of the weights. Tiles past the last one read the last one; their y is not
    // written.
    std::byte const* weights[sets];
    std::uint16_t const* scales[sets];
    PLAIT_UNROLL
    for (int i = 0; i < sets; ++i) {
      auto const w = (Gated && i == 1 ? a.up : out.weight).copy(expert);
      std::int64_t at = tile + (Gated ? 0 : i);
      if (at >= w.row_tiles()) at = w.row_tiles() - 1;
      if constexpr (Stored == dtype::int8) {
        weights[i] = w.data + at * k_blocks * w.tile_bytes + lane * 16;
        scales[i] = w.scales + at * k_blocks * w.tile_rows + lane % 8 * 2;
      } else {
        weights[i] = w.data + ((at * 16 + lane / 4) * w.stride() + lane % 4 * 8) * 2;
        scales[i] = nullptr;
      }
    }
    // This lane's part of x. Rows past the last one read the last one; their y is not written.
    bf16_t const* x[Tiles];
    PLAIT_UNROLL
    for (int t = 0; t < Tiles; ++t) {
      std::int64_t const r = row + (t * 8 + lane / 4 < rows ? t * 8 + lane / 4 : rows - 1);
      x[t] = a.x + (a.token != nullptr ? a.token[r] : r - a.begin) * a.x_stride + lane % 4 * 8;
    }

    float sums[sets][Tiles][4] = {};
    std::int64_t const step = std::int64_t{a.k_warps} * depth;
    std::int64_t const stride = out.weight.stride();
    std::int64_t k = k_warp * depth;
    tile_words words[depth];
    scale_words next;
    PLAIT_UNROLL
    for (int i = 0; i < depth; ++i) load(words[i], weights, stride, k + i, k_blocks);
    load(next, scales, k + lane / 8, k_blocks);
    for (; k < k_blocks; k += step) {
      scale_words const now = next;
      load(next, scales, k + step + lane / 8, k_blocks);
      PLAIT_UNROLL
      for (int i = 0; i < depth; ++i) {
        fragments f;
        PLAIT_UNROLL
        for (int j = 0; j < sets; ++j) {
          unpack(words[i].words[j], f.a[j]);
          if constexpr (Stored == dtype::int8) unpack(b, now.words[i / 4][j], i % 4, f.scales[j]);
        }
        // The unpacked words are free for a load: those of depth - 1 tiles are always pending.
        load(words[i], weights, stride, k + step + i, k_blocks);
        multiply(b, f, x, (k + i) * 32, cols - lane % 4 * 8, rows, sums);
      }
    }

    PLAIT_UNROLL
    for (int from = 0; from < Tiles; from += tiles_per_sum) {
      if (from * 8 >= rows) break;
      if (from > 0) b.sync();
      PLAIT_UNROLL
      for (int t = 0; t < tiles_per_sum; ++t) {
        PLAIT_UNROLL
        for (int i = 0; i < sets; ++i) {
          PLAIT_UNROLL
          for (int j = 0; j < 4; ++j) s.sums[b.warp()][t][i][j][lane] = sums[i][from + t][j];
        }
      }
      b.sync();
      // Neighbouring threads take neighbouring rows of the weights, which are side by side in y.
      constexpr int columns = 8 * tiles_per_sum;
      for (int index = b.thread(); index < m_warps * row_tiles * 16 * columns; index += threads) {
        int const r = index % 16;
        int const column = index / 16 % columns;
        int const sum_tile = index / (16 * columns);
        std::int64_t const n = (block_tile + sum_tile) * 16 + r;
        std::int64_t const group_row = from * 8 + column;
        if (group_row >= rows) continue;
        float value[Gated ? 2 : 1];
        PLAIT_UNROLL
        for (int i = 0; i < (Gated ? 2 : 1); ++i) {
          int const set = Gated ? i : sum_tile % row_tiles;
          value[i] = 0;
          for (int w = 0; w < a.k_warps; ++w)
            value[i] += s.sums[sum_tile / row_tiles * a.k_warps + w][column / 8][set]
                              [r / 8 * 2 + column % 2][r % 8 * 4 + column % 8 / 2];
        }
        std::int64_t const at = (row - a.y_from + group_row) * out.y_stride + n;
        if constexpr (Gated) {
          if (n < out.y_cols)
            static_cast<bf16_t*>(out.y)[at] =
                narrow<bf16_t>(n < out.weight.rows ? silu(value[0]) * value[1] : 0.0f);
        } else {
          if (n >= out.weight.rows) continue;
          float const y = out.bias != nullptr ? value[0] + out.bias[n] : value[0];
          if (a.conv.u != nullptr && n < a.conv.channels)
            a.conv.step(row + group_row, n, y);
          else if (a.y_is_float)
            static_cast<float*>(out.y)[at] = y;
          else
            static_cast<bf16_t*>(out.y)[at] = narrow<bf16_t>(y);
        }
      }
    }
  }

 private:
  PLAIT_HD static void load(tile_words& to, std::byte const* const (&weights)[sets],
                            std::int64_t stride, std::int64_t k, std::int64_t k_blocks) {
    PLAIT_UNROLL
    for (int j = 0; j < sets; ++j) {
      PLAIT_UNROLL
      for (int p = 0; p < parts; ++p) {
        // int8: the next tile. bf16: the next 64 bytes of the row, and of the row 8 below.
        std::int64_t const at = Stored == dtype::int8 ? k * device_weights<Stored>::tile_bytes
                                                      : k * 64 + p * 16 * stride;
        to.words[j][p] =
            k < k_blocks ? load_once(reinterpret_cast<words4 const*>(weights[j] + at)) : words4{};
      }
    }
  }
  /// k is the first of the four tiles whose scales this lane loads.
  PLAIT_HD static void load(scale_words& to, std::uint16_t const* const (&scales)[sets],
                            std::int64_t k, std::int64_t k_blocks) {
    if constexpr (Stored == dtype::int8) {
      PLAIT_UNROLL
      for (int q = 0; q < depth / 4; ++q) {
        PLAIT_UNROLL
        for (int j = 0; j < sets; ++j) {
          std::uint16_t const* const from =
              scales[j] + (k + 4 * q) * device_weights<Stored>::tile_rows;
          to.words[q][j] =
              k + 4 * q < k_blocks ? *reinterpret_cast<std::uint32_t const*>(from) : 0u;
        }
      }
    }
  }

  PLAIT_HD static void unpack(words4 const (&w)[parts], std::uint32_t (&a)[2][4]) {
    PLAIT_UNROLL
    for (int half = 0; half < 2; ++half)
      if constexpr (Stored == dtype::int8) {
        int8_to_bf16(w[0].word[2 * half], a[half][0], a[half][1]);
        int8_to_bf16(w[0].word[2 * half + 1], a[half][2], a[half][3]);
      } else {
        a[half][0] = w[0].word[2 * half];
        a[half][1] = w[1].word[2 * half];
        a[half][2] = w[0].word[2 * half + 1];
        a[half][3] = w[1].word[2 * half + 1];
      }
  }
  /// Unpacks the scales of this lane's rows in tile i of four.
  template <class Block>
  PLAIT_HD static void unpack(Block const& b, std::uint32_t words, int i, float (&scales)[2]) {
    int const row = b.lane() / 4;
    PLAIT_UNROLL
    for (int half = 0; half < 2; ++half) {
      std::uint32_t const two = b.shuffle(words, i * 8 + half * 4 + row / 2);
      scales[half] = widen_f16(static_cast<std::uint16_t>(two >> (row % 2 * 16) & 0xffffu));
    }
  }

  /// Multiplies the block of 32 columns from k on; `cols` is the number of columns of x from this
  /// lane's pointers on.
  template <class Block>
  PLAIT_HD static void multiply(Block const& b, fragments const& f, bf16_t const* const (&x)[Tiles],
                                std::int64_t k, std::int64_t cols, std::int64_t rows,
                                float (&sums)[sets][Tiles][4]) {
    PLAIT_UNROLL
    for (int t = 0; t < Tiles; ++t) {
      if (t * 8 >= rows) break;
      words4 const values = k < cols ? *reinterpret_cast<words4 const*>(x[t] + k) : words4{};
      PLAIT_UNROLL
      for (int j = 0; j < sets; ++j)
        if constexpr (Stored == dtype::int8) {
          float block[4] = {};  // sums of the 32 columns that share a scale
          b.mma(block, f.a[j][0], {values.word[0], values.word[1]});
          b.mma(block, f.a[j][1], {values.word[2], values.word[3]});
          PLAIT_UNROLL
          for (int e = 0; e < 4; ++e)
            sums[j][t][e] = fmaf(f.scales[j][e / 2], block[e], sums[j][t][e]);
        } else {
          b.mma(sums[j][t], f.a[j][0], {values.word[0], values.word[1]});
          b.mma(sums[j][t], f.a[j][1], {values.word[2], values.word[3]});
        }
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
