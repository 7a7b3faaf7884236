// The kernel of selective_ssm for one token per sequence.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (x, y): 64 channels of up to 4 sequences. A warp per sequence normalises dt, B and C;
/// every block repeats this, as it is 288 numbers in Jamba. Rows of dt_proj are read once. Then
/// four threads per channel take its states, in [N][d] order, so that a warp reads 128 bytes of one
/// state.
/// Test: tests/unit/ops/selective_scan/selective_ssm_gpu_test.cpp
template <dtype Stored, class T>
struct ssm_step {
  static constexpr int channels = 64, sequences_per_block = 4, max_rank = 512, max_states = 64;
  struct args {
    sequences<T> seqs;
    rows_of<T const> u, z, selected;
    rows_of<T> y;
    float const *dt_norm, *b_norm, *c_norm, *dt_bias, *decay, *d;
    device_weights<Stored> dt_proj;
    std::int64_t states;
    float eps;
  };
  static constexpr int threads = 256;
  template <class>
  struct shared {
    float dt[sequences_per_block][max_rank], b[sequences_per_block][max_states],
        c[sequences_per_block][max_states];        ///< normalised; dt is padded with zeros
    float step[sequences_per_block][2][channels];  ///< dt_proj dt, by the two halves of its columns
    float y[sequences_per_block][threads / channels][channels];
  };

  /// A warp normalises one part of a row, as inner_norms, rounded to T.
  template <class Block>
  PLAIT_HD static void norm(Block const& b, T const* from, float const* weight, std::int64_t n,
                            std::int64_t padded, float eps, float* to) {
    float squares = 0;
    for (std::int64_t i = b.lane(); i < n; i += warp_size) {
      float const v = widen(from[i]);
      squares += v * v;
    }
    float const scale = 1.0f / sqrtf(warp_sum(b, squares) / static_cast<float>(n) + eps);
    for (std::int64_t i = b.lane(); i < padded; i += warp_size)
      to[i] = i < n ? widen(narrow<T>(weight[i] * (widen(from[i]) * scale))) : 0.0f;
  }

  /// A lane's elements of the tile with rows 16 r.. and columns 32 c..: rows g and g + 8, columns 8
  /// p.. with g = lane / 4, p = lane % 4.
  PLAIT_HD static void load(device_weights<Stored> const& w, std::int64_t r, std::int64_t c,
                            int lane, float (&to)[2][vector_elements]) {
    if constexpr (Stored == dtype::int8) {
      std::int64_t const tile = r * w.col_tiles() + c;
      words4 const bytes = reinterpret_cast<words4 const*>(w.data)[tile * warp_size + lane];
      PLAIT_UNROLL
      for (int h = 0; h < 2; ++h) {
        float const scale = from_f16(w.scales[tile * 16 + lane / 4 + 8 * h]);
        PLAIT_UNROLL
        for (int i = 0; i < vector_elements; ++i) {
          int const byte = static_cast<std::int8_t>(
              static_cast<std::uint8_t>(bytes.word[i / 2] >> (8 * (h + 2 * (i % 2)))));
          to[h][i] = scale * static_cast<float>(byte);
        }
      }
    } else {
      using element = std::conditional_t<Stored == dtype::f32, float, bf16_t>;
      PLAIT_UNROLL
      for (int h = 0; h < 2; ++h) {
        std::int64_t const column = c * 32 + lane % 4 * vector_elements;
        element const* const at = reinterpret_cast<element const*>(w.data) +
                                  (r * 16 + lane / 4 + 8 * h) * w.stride() + column;
        load_vector(at, w.stride() - column, true, to[h]);
      }
    }
  }

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const d = a.dt_proj.rows;
    std::int64_t const rank = a.dt_proj.cols;
    std::int64_t const first = b.x() * channels;
    std::int64_t const s0 = b.y() * sequences_per_block;
    std::int64_t const padded = a.dt_proj.col_tiles() * 32;
    if (b.warp() < sequences_per_block) {
      int const i = b.warp();
      // The same for all lanes.
      bool const has_token = s0 + i < a.seqs.count && a.seqs.tokens(s0 + i) > 0;
      if (has_token) {
        T const* const row = a.selected.row(a.seqs.first_row[s0 + i]);
        norm(b, row, a.dt_norm, rank, padded, a.eps, s.dt[i]);
        norm(b, row + rank, a.b_norm, a.states, a.states, a.eps, s.b[i]);
        norm(b, row + rank + a.states, a.c_norm, a.states, a.states, a.eps, s.c[i]);
      } else {
        for (std::int64_t r = b.lane(); r < padded; r += warp_size) s.dt[i][r] = 0;
      }
    }
    b.sync();

    // Warp w: rows 16 (w / 2).. of the block, every second piece of 32 columns.
    std::int64_t const tile = first / 16 + b.warp() / 2;
    float sum[sequences_per_block][2] = {};
    if (tile < a.dt_proj.row_tiles())
      for (std::int64_t c = b.warp() % 2; c < a.dt_proj.col_tiles(); c += 2) {
        float w[2][vector_elements];
        load(a.dt_proj, tile, c, b.lane(), w);
        PLAIT_UNROLL
        for (int i = 0; i < sequences_per_block; ++i) {
          float const* const x = s.dt[i] + c * 32 + b.lane() % 4 * vector_elements;
          PLAIT_UNROLL
          for (int j = 0; j < vector_elements; ++j) {
            sum[i][0] += w[0][j] * x[j];
            sum[i][1] += w[1][j] * x[j];
          }
        }
      }
    PLAIT_UNROLL
    for (int i = 0; i < sequences_per_block; ++i) PLAIT_UNROLL
    for (int h = 0; h < 2; ++h) {
      float v = sum[i][h];
      v += b.shuffle_xor(v, 1);
      v += b.shuffle_xor(v, 2);
      if (b.lane() % 4 == 0) s.step[i][b.warp() % 2][b.warp() / 2 * 16 + b.lane() / 4 + 8 * h] = v;
    }
    b.sync();

    int const c = b.thread() % channels, part = b.thread() / channels, parts = threads / channels;
    std::int64_t const channel = first + c;
    for (int i = 0; i < sequences_per_block; ++i) {
      bool const valid = channel < d && s0 + i < a.seqs.count && a.seqs.tokens(s0 + i) > 0;
      float y = 0;
      if (valid) {
        // Rounded to T, as between the ops.
        float const delta =
            softplus(widen(narrow<T>(s.step[i][0][c] + s.step[i][1][c] + a.dt_bias[channel])));
        float const u = widen(a.u.row(a.seqs.first_row[s0 + i])[channel]), delta_u = delta * u;
        float* const state = a.seqs.state_of(s0 + i) + channel;
        for (std::int64_t n = part; n < a.states; n += parts) {
          float const h =
              kernels::exp2(delta * a.decay[n * d + channel]) * state[n * d] + delta_u * s.b[i][n];
          state[n * d] = h;
          y += h * s.c[i][n];
        }
      }
      s.y[i][part][c] = y;
    }
    b.sync();
    // From here on `part` is a sequence of the block.
    if (channel < d && s0 + part < a.seqs.count && a.seqs.tokens(s0 + part) > 0) {
      static_assert(sequences_per_block == threads / channels);
      std::int64_t const row = a.seqs.first_row[s0 + part];
      float y = a.d[channel] * widen(a.u.row(row)[channel]);
      for (int p = 0; p < parts; ++p) y += s.y[part][p][c];
      a.y.row(row)[channel] = narrow<T>(y * silu(widen(a.z.row(row)[channel])));
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
