// The scan kernel for one token per sequence.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/selective_scan/gpu/scan_args.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (x, y) takes 128 channels of sequences y, y + grid_y..., each with one token or none. Per
/// channel (softplus, gate, output) a thread computes one channel; per state it computes 4 of every
/// 16 states of the 4 channels of its group of 4 lanes, loaded and stored 16 bytes at a time. The
/// lanes of a group exchange inputs and sums by shuffles.
/// Cost: the states read and written once, 16 bytes at a time
/// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
template <class T>
struct selective_scan_step {
  using args = scan_args<T>;
  static constexpr int threads = 128, min_blocks_per_multiprocessor = 5, lanes = scan_lanes;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    int const lane = b.lane() % lanes;
    std::int64_t const channel = b.x() * threads + b.thread();
    std::int64_t const base = channel - lane;
    std::int64_t const valid_channels = a.channels - base;
    std::int64_t const run_states = scan_run(a.states);
    bool const aligned_decay = aligned_rows(a.decay, a.channels);
    float decay[4][lanes] = {};
    auto const load_decay = [&](std::int64_t first) {
      PLAIT_UNROLL
      for (int i = 0; i < 4; ++i) {
        std::int64_t const n = first + lane * 4 + i;
        load_vector(a.decay + n * a.channels + base, n < a.states ? valid_channels : 0,
                    aligned_decay, decay[i]);
      }
    };
    if (a.states <= 16) load_decay(0);  // once for all sequences
    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      if (a.seqs.tokens(seq) == 0) continue;
      std::int64_t const row = a.seqs.first_row[seq];
      float* const state = a.seqs.state_of(seq);
      bool const aligned = aligned_rows(state, a.channels);
      bool const valid = channel < a.channels;
      float const u = valid ? widen(a.u.row(row)[channel]) : 0.0f;
      float const z = valid ? widen(a.z.row(row)[channel]) : 0.0f;
      float const own_delta = valid ? softplus(widen(a.dt.row(row)[channel])) : 0.0f;
      float const own_delta_u = own_delta * u;
      float delta[lanes], delta_u[lanes];
      PLAIT_UNROLL
      for (int c = 0; c < lanes; ++c) {
        delta[c] = b.shuffle(own_delta, b.lane() - lane + c);
        delta_u[c] = b.shuffle(own_delta_u, b.lane() - lane + c);
      }
      float sum = 0;
      for (std::int64_t run = 0; run < a.states; run += run_states) {
        float part[lanes] = {};
        for (std::int64_t first = run; first < a.states && first < run + run_states; first += 16) {
          std::int64_t const n = first + lane * 4, valid_states = n < a.states ? a.states - n : 0;
          float S[4][lanes], B[4], C[4];
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i)
            load_vector(state + (n + i) * a.channels + base, i < valid_states ? valid_channels : 0,
                        aligned, S[i]);
          load_vector(a.B.row(row) + n, valid_states, a.B.aligned, B);
          load_vector(a.C.row(row) + n, valid_states, a.C.aligned, C);
          if (a.states > 16) load_decay(first);
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i) {
            if (i >= valid_states) continue;
            PLAIT_UNROLL
            for (int c = 0; c < lanes; ++c) {
              S[i][c] = fmaf(kernels::exp2(delta[c] * decay[i][c]), S[i][c], delta_u[c] * B[i]);
              part[c] = fmaf(S[i][c], C[i], part[c]);
            }
            store_vector(state + (n + i) * a.channels + base, valid_channels, aligned, S[i]);
          }
        }
        float const run_sum = sum_for_each_lane<1>(b, lane, part);
        sum = run > 0 ? sum + run_sum : run_sum;
      }
      if (valid) a.y.row(row)[channel] = narrow<T>(fmaf(a.skip[channel], u, sum) * silu(z));
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
