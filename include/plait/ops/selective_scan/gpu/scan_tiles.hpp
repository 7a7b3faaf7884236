// selective_scan on a device, many channels: tiles of them go through the tokens one after the
// other. A block takes 32 channels through all tokens of a sequence; four lanes share a channel's
// states, in registers; 32 tokens of dt, u, B and C are in shared memory, the next ones on their
// way.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/selective_scan/gpu/scan_args.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (x, y) takes 32 channels of sequences y, y + grid_y... through their tokens, in tiles of
/// 32 tokens. A thread loads one lot of u, z and dt a tile, the next tile's while this one is
/// computed, so that a softplus and a gate are computed once a value; B and C are loaded once a
/// block. States stay in registers from the first token to the last where one run holds them, 4
/// lanes * States; further runs take turns over a tile.
/// Cost: inputs are read once, 16 bytes at a time, B and C once for 32 channels; a softplus and a
///   gate once a value; states in registers from the first token to the last (N up to 64; beyond,
///   runs of 64 take turns over a tile)
/// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
template <class T, int States>
struct selective_scan_tiles {
  using args = scan_args<T>;
  static constexpr int lanes = scan_lanes, channels = 32, tokens = 32, threads = channels * lanes,
                       run_states = lanes * States;
  static constexpr int blocks = States <= 4 ? 4 : States <= 8 ? 3 : 2;
  static constexpr int vectors_per_row = channels / vector_elements, quads = run_states / 4,
                       run_vectors = run_states / vector_elements;
  static constexpr int pieces =
      2 * tokens * run_vectors / threads;  ///< lots of B and C that a thread loads
  static_assert(vectors_per_row * tokens == threads &&
                pieces * threads == 2 * tokens * run_vectors && States % 4 == 0);

  struct alignas(16) quad {
    float of[4];
  };
  template <class Block>
  struct shared {
    quad BC[2][tokens][quads];
    // Rows apart by what keeps threads that store, and load, at the same time off one another's
    // banks.
    alignas(16) float delta[tokens][channels + 4], delta_u[tokens][channels + 4],
        sum[tokens][channels + 8];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    int const lane = b.lane() / 8, column = b.warp() * 8 + b.lane() % 8;
    std::int64_t const first_channel = b.x() * channels, channel = first_channel + column;
    bool const live = channel < a.channels;
    // The lot that this thread moves.
    int const own_token = b.thread() / vectors_per_row,
              own = b.thread() % vectors_per_row * vector_elements;
    std::int64_t const own_channel = first_channel + own, own_left = a.channels - own_channel;
    bool const own_aligned = a.u.aligned && a.z.aligned && a.dt.aligned,
               bc_aligned = a.B.aligned && a.C.aligned;
    std::int64_t const runs = (a.states + run_states - 1) / run_states;

    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[seq], total = a.seqs.tokens(seq);
      if (total == 0) continue;
      float* const state = a.seqs.state_of(seq);
      float h[States] = {}, decay[States] = {};
      raw_values<T, vector_elements> u, dt, bc[pieces];
      // Rows behind the last token are not loaded, and what is left in their place not used.
      T const* own_u_at = a.u.row(first + own_token) + own_channel;
      T const* own_z_at = a.z.row(first + own_token) + own_channel;
      T const* own_dt_at = a.dt.row(first + own_token) + own_channel;
      T* own_y_at = a.y.row(first + own_token) + own_channel;
      T const* bc_at[pieces];
      PLAIT_UNROLL
      for (int p = 0; p < pieces; ++p) {
        int const e = p * threads + b.thread();
        bc_at[p] = (e < tokens * run_vectors ? a.B : a.C).row(first + e / run_vectors % tokens) +
                   e % run_vectors * vector_elements;
      }
      auto const load_own = [&](std::int64_t begin) {
        if (begin + own_token >= total || own_left <= 0) return;
        dt.load(own_dt_at, own_left, own_aligned);
        u.load(own_u_at, own_left, own_aligned);
        own_dt_at += tokens * a.dt.stride;
        own_u_at += tokens * a.u.stride;
      };
      auto const load_bc = [&](std::int64_t begin, std::int64_t r) {
        PLAIT_UNROLL
        for (int p = 0; p < pieces; ++p) {
          int const e = p * threads + b.thread();
          std::int64_t const n = r * run_states + e % run_vectors * vector_elements;
          if (begin + e / run_vectors % tokens < total)
            bc[p].load(bc_at[p] + r * run_states, a.states - n, bc_aligned);
          if (r + 1 == runs) bc_at[p] += tokens * (e < tokens * run_vectors ? a.B : a.C).stride;
        }
      };
      load_own(0);
      load_bc(0, 0);
      for (std::int64_t begin = 0; begin < total; begin += tokens) {
        int const here = static_cast<int>(total - begin < tokens ? total - begin : tokens);
        bool const last = begin + tokens >= total;
        raw_values<T, vector_elements> const own_u = u;
        raw_values<T, vector_elements> own_z;
        PLAIT_UNROLL
        for (int q = 0; q < vector_elements; q += 4) {
          quad delta, delta_u;
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i)
            delta.of[i] = softplus(dt[q + i]), delta_u.of[i] = delta.of[i] * u[q + i];
          *reinterpret_cast<quad*>(&s.delta[own_token][own + q]) = delta;
          *reinterpret_cast<quad*>(&s.delta_u[own_token][own + q]) = delta_u;
        }
        for (std::int64_t r = 0; r < runs; ++r) {
          PLAIT_UNROLL
          for (int p = 0; p < pieces; ++p) {
            int const e = p * threads + b.thread(), t = e / run_vectors % tokens,
                      which = e / (tokens * run_vectors);
            PLAIT_UNROLL
            for (int q = 0; q < vector_elements; q += 4)
              s.BC[which][t][(e % run_vectors * vector_elements + q) / 4] = {
                  {bc[p][q], bc[p][q + 1], bc[p][q + 2], bc[p][q + 3]}};
          }
          if (begin == 0 || runs > 1) {
            PLAIT_UNROLL
            for (int i = 0; i < States; ++i) {
              std::int64_t const n = r * run_states + place(i, lane);
              bool const there = live && n < a.states;
              h[i] = there ? state[n * a.channels + channel] : 0.0f;
              decay[i] = there ? a.decay[n * a.channels + channel] : 0.0f;
            }
          }
          b.sync();
          if (r == 0 && own_token < here && own_left > 0) {
            own_z.load(own_z_at, own_left, own_aligned);
            own_z_at += tokens * a.z.stride;
          }
          if (r + 1 < runs)
            load_bc(begin, r + 1);
          else if (!last) {
            load_own(begin + tokens);
            load_bc(begin + tokens, 0);
          }
          int t = 0;
          constexpr int groups = States <= 4 ? 2 : 1;  // at once, as registers allow
          for (; t + groups * lanes <= here; t += groups * lanes) {
            PLAIT_UNROLL
            for (int g = 0; g < groups; ++g)
              tokens_of_lanes<true>(b, s, t + g * lanes, here, lane, column, h, decay, r > 0);
          }
          for (; t < here; t += lanes)
            tokens_of_lanes<false>(b, s, t, here, lane, column, h, decay, r > 0);
          if (last || runs > 1) {
            PLAIT_UNROLL
            for (int i = 0; i < States; ++i) {
              std::int64_t const n = r * run_states + place(i, lane);
              if (live && n < a.states) state[n * a.channels + channel] = h[i];
            }
          }
          b.sync();
        }
        if (own_token < here && own_left > 0) {
          float skip[vector_elements], y[vector_elements];
          load_vector(a.skip + own_channel, own_left, true, skip);
          PLAIT_UNROLL
          for (int i = 0; i < vector_elements; ++i)
            y[i] = fmaf(skip[i], own_u[i], s.sum[own_token][own + i]) * silu(own_z[i]);
          store_vector(own_y_at, own_left, a.y.aligned, y);
          own_y_at += tokens * a.y.stride;
        }
      }
    }
  }

 private:
  /// Of the States of a lane, where state i stands in the run.
  static PLAIT_HD constexpr int place(int i, int lane) { return i / 4 * 16 + lane * 4 + i % 4; }

  /// Tokens t to t + 3 of a tile, as far as there are any: moves the states on, and sums up what
  /// they add to y.
  template <bool Whole, class Block>
  PLAIT_HD static void tokens_of_lanes(Block const& b, shared<Block>& s, int t, int here, int lane,
                                       int column, float (&h)[States], float const (&decay)[States],
                                       bool add) {
    float part[lanes];
    PLAIT_UNROLL
    for (int j = 0; j < lanes; ++j) {
      part[j] = 0;
      if (!Whole && t + j >= here) continue;
      float const delta = s.delta[t + j][column], delta_u = s.delta_u[t + j][column];
      PLAIT_UNROLL
      for (int q = 0; q < States / 4; ++q) {
        quad const B = s.BC[0][t + j][4 * q + lane], C = s.BC[1][t + j][4 * q + lane];
        PLAIT_UNROLL
        for (int i = 0; i < 4; ++i) {
          float& S = h[4 * q + i];
          S = fmaf(kernels::exp2(delta * decay[4 * q + i]), S, delta_u * B.of[i]);
          part[j] = fmaf(S, C.of[i], part[j]);
        }
      }
    }
    float const sum = sum_for_each_lane<8>(b, lane, part);
    float& to = s.sum[t + lane][column];
    to = add ? to + sum : sum;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
