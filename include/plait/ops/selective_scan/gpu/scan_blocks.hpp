// The scan kernel for few channels: a parallel scan over tokens, as maps of the state.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/selective_scan/gpu/affine.hpp>
#include <plait/ops/selective_scan/gpu/scan_args.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (x, y) takes 4 channels of sequences y, y + grid_y... through their tokens, 512 at a time.
/// A thread has 4 successive tokens; the maps that they are for a state are scanned over the block,
/// one state after the other.
/// Shapes: N up to 256
/// Cost: twice the arithmetic of tiles
/// Source: Gu and Dao, arXiv:2312.00752, section 3.3; the scan: Blelloch, CMU-CS-90-190
/// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
template <class T>
struct selective_scan_blocks {
  using args = scan_args<T>;
  static constexpr int threads = 128, min_blocks_per_multiprocessor = sizeof(T) == 2 ? 3 : 2;
  static constexpr int items = 4, channels = 4, tokens = threads * items;
  static constexpr int states_per_load = 4, max_states = 256;
  using row = affine_row<channels>;
  template <class Block>
  struct shared {
    typename Block::template scan_space<row> space;
    float carried[max_states][channels];  ///< the state before the first token of a tile
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const base = b.x() * channels;
    std::int64_t const valid_channels = a.channels - base;
    float skip[channels];
    load_vector(a.skip + base, valid_channels, true, skip);
    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[seq], total = a.seqs.tokens(seq);
      if (total == 0) continue;
      float* const state = a.seqs.state_of(seq);
      for (std::int64_t e = b.thread(); e < a.states * channels; e += threads)
        s.carried[e / channels][e % channels] =
            e % channels < valid_channels ? state[e / channels * a.channels + base + e % channels]
                                          : 0.0f;
      for (std::int64_t begin = 0; begin < total; begin += tokens) {
        b.sync();  // the carried states are visible
        std::int64_t const t = begin + b.thread() * items;
        float delta[items][channels], delta_u[items][channels], y[items][channels];
        PLAIT_UNROLL
        for (int i = 0; i < items; ++i) {
          std::int64_t const count = t + i < total ? valid_channels : 0;
          std::int64_t const at = count > 0 ? first + t + i : first;
          float u[channels];
          load_vector(a.dt.row(at) + base, count, a.dt.aligned, delta[i]);
          load_vector(a.u.row(at) + base, count, a.u.aligned, u);
          PLAIT_UNROLL
          for (int c = 0; c < channels; ++c) {
            delta[i][c] = softplus(delta[i][c]);
            delta_u[i][c] = delta[i][c] * u[c];
            y[i][c] = 0;
          }
        }
        for (std::int64_t n = 0; n < a.states; n += states_per_load) {
          float B[items][states_per_load], C[items][states_per_load];
          PLAIT_UNROLL
          for (int i = 0; i < items; ++i) {
            std::int64_t const count = t + i < total ? a.states - n : 0;
            std::int64_t const at = count > 0 ? first + t + i : first;
            load_vector(a.B.row(at) + n, count, a.B.aligned, B[i]);
            load_vector(a.C.row(at) + n, count, a.C.aligned, C[i]);
          }
          PLAIT_UNROLL
          for (int k = 0; k < states_per_load; ++k) {
            if (n + k >= a.states) continue;
            float decay[channels];
            load_vector(a.decay + (n + k) * a.channels + base, valid_channels,
                        aligned_rows(a.decay, a.channels), decay);
            row maps[items], carried;
            PLAIT_UNROLL
            for (int c = 0; c < channels; ++c) {
              carried.of[c] = {0.0f, s.carried[n + k][c]};
              PLAIT_UNROLL
              for (int i = 0; i < items; ++i) {
                maps[i].of[c] = {kernels::exp2(delta[i][c] * decay[c]), delta_u[i][c] * B[i][k]};
                if (t + i >= total) maps[i].of[c] = affine<float>::identity();
              }
            }
            b.scan(s.space, maps, compose{}, carried);
            PLAIT_UNROLL
            for (int c = 0; c < channels; ++c) {
              PLAIT_UNROLL
              for (int i = 0; i < items; ++i) y[i][c] = fmaf(maps[i].of[c].b, C[i][k], y[i][c]);
              // Read again after the barrier of the next tile.
              if (b.thread() == 0) s.carried[n + k][c] = carried.of[c].b;
            }
            b.sync();  // the scan space is free again
          }
        }
        PLAIT_UNROLL
        for (int i = 0; i < items; ++i) {
          if (t + i >= total) continue;
          float u[channels], z[channels];
          load_vector(a.u.row(first + t + i) + base, valid_channels, a.u.aligned, u);
          load_vector(a.z.row(first + t + i) + base, valid_channels, a.z.aligned, z);
          PLAIT_UNROLL
          for (int c = 0; c < channels; ++c) y[i][c] = fmaf(skip[c], u[c], y[i][c]) * silu(z[c]);
          store_vector(a.y.row(first + t + i) + base, valid_channels, a.y.aligned, y[i]);
        }
      }
      b.sync();
      for (std::int64_t e = b.thread(); e < a.states * channels; e += threads)
        if (e % channels < valid_channels)
          state[e / channels * a.channels + base + e % channels] =
              s.carried[e / channels][e % channels];
      b.sync();
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
