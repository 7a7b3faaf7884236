// The scan kernel for many channels: tiles of channels pass through the tokens in order.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/selective_scan/gpu/scan_args.hpp>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (x, y) takes 32 channels of sequences y, y + grid_y... through their tokens, in tiles of
/// 32 tokens. Four lanes share the states of a channel, in registers. A thread loads one vector of
/// u, z and dt per tile, those of the next tile during the computation of the current one, so that
/// softplus and gate are computed once per value; B and C are loaded once per block. States stay in
/// registers from the first token to the last if one run of 4 lanes times States holds them;
/// otherwise runs take turns within a tile.
/// Cost: inputs are read once, 16 bytes at a time, B and C once per 32 channels
/// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
template <class T, int States>
struct selective_scan_tiles {
  using args = scan_args<T>;
  static constexpr int lanes = scan_lanes;
  static constexpr int channels = 32;
  static constexpr int tokens = 32;
  static constexpr int threads = channels * lanes;
  static constexpr int run_states = lanes * States;
  static constexpr int min_blocks_per_multiprocessor = States <= 4 ? 4 : States <= 8 ? 3 : 2;
  static constexpr int vectors_per_row = channels / vector_elements;
  static constexpr int quads = run_states / 4;
  static constexpr int run_vectors = run_states / vector_elements;
  /// Vectors of B and C that a thread loads.
  static constexpr int pieces = 2 * tokens * run_vectors / threads;
  static_assert(vectors_per_row * tokens == threads &&
                pieces * threads == 2 * tokens * run_vectors && States % 4 == 0);

  struct alignas(16) quad {
    float of[4];
  };
  template <class Block>
  struct shared {
    quad BC[2][tokens][quads];
    // Rows are padded against bank conflicts of simultaneous stores and of simultaneous loads.
    alignas(16) float delta[tokens][channels + 4], delta_u[tokens][channels + 4],
        sum[tokens][channels + 8];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    int const lane = b.lane() / 8;
    int const column = b.warp() * 8 + b.lane() % 8;
    std::int64_t const first_channel = b.x() * channels;
    std::int64_t const channel = first_channel + column;
    bool const valid_channel = channel < a.channels;
    // The vector that this thread loads and stores.
    int const own_token = b.thread() / vectors_per_row;
    int const own = b.thread() % vectors_per_row * vector_elements;
    std::int64_t const own_channel = first_channel + own, own_left = a.channels - own_channel;
    bool const own_aligned = a.u.aligned && a.z.aligned && a.dt.aligned;
    bool const bc_aligned = a.B.aligned && a.C.aligned;
    std::int64_t const runs = (a.states + run_states - 1) / run_states;

    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[seq], total = a.seqs.tokens(seq);
      if (total == 0) continue;
      float* const state = a.seqs.state_of(seq);
      float h[States] = {}, decay[States] = {};
      raw_values<T, vector_elements> u, dt, bc[pieces];
      // Rows after the last token are not loaded; the values in their registers are not used.
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
        int const tile_tokens = static_cast<int>(total - begin < tokens ? total - begin : tokens);
        bool const last = begin + tokens >= total;
        raw_values<T, vector_elements> const own_u = u;
        raw_values<T, vector_elements> own_z;
        PLAIT_UNROLL
        for (int q = 0; q < vector_elements; q += 4) {
          quad delta, delta_u;
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i) {
            delta.of[i] = softplus(dt[q + i]);
            delta_u.of[i] = delta.of[i] * u[q + i];
          }
          *reinterpret_cast<quad*>(&s.delta[own_token][own + q]) = delta;
          *reinterpret_cast<quad*>(&s.delta_u[own_token][own + q]) = delta_u;
        }
        for (std::int64_t r = 0; r < runs; ++r) {
          PLAIT_UNROLL
          for (int p = 0; p < pieces; ++p) {
            int const e = p * threads + b.thread();
            int const t = e / run_vectors % tokens;
            int const which = e / (tokens * run_vectors);
            PLAIT_UNROLL
            for (int q = 0; q < vector_elements; q += 4)
              s.BC[which][t][(e % run_vectors * vector_elements + q) / 4] = {
                  {bc[p][q], bc[p][q + 1], bc[p][q + 2], bc[p][q + 3]}};
          }
          if (begin == 0 || runs > 1) {
            PLAIT_UNROLL
            for (int i = 0; i < States; ++i) {
              std::int64_t const n = r * run_states + index_in_run(i, lane);
              bool const valid = valid_channel && n < a.states;
              h[i] = valid ? state[n * a.channels + channel] : 0.0f;
              decay[i] = valid ? a.decay[n * a.channels + channel] : 0.0f;
            }
          }
          b.sync();
          if (r == 0 && own_token < tile_tokens && own_left > 0) {
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
          constexpr int groups = States <= 4 ? 2 : 1;  // as many as registers allow
          for (; t + groups * lanes <= tile_tokens; t += groups * lanes) {
            PLAIT_UNROLL
            for (int g = 0; g < groups; ++g)
              step_tokens<true>(b, s, t + g * lanes, tile_tokens, lane, column, h, decay, r > 0);
          }
          for (; t < tile_tokens; t += lanes)
            step_tokens<false>(b, s, t, tile_tokens, lane, column, h, decay, r > 0);
          if (last || runs > 1) {
            PLAIT_UNROLL
            for (int i = 0; i < States; ++i) {
              std::int64_t const n = r * run_states + index_in_run(i, lane);
              if (valid_channel && n < a.states) state[n * a.channels + channel] = h[i];
            }
          }
          b.sync();
        }
        if (own_token < tile_tokens && own_left > 0) {
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
  /// The index within a run of state i of a lane.
  static PLAIT_HD constexpr int index_in_run(int i, int lane) {
    return i / 4 * 16 + lane * 4 + i % 4;
  }

  /// Moves the states through tokens t to t + 3 of a tile, or those of them that exist, and writes
  /// or adds their share of the outputs. Full: all four exist.
  template <bool Full, class Block>
  PLAIT_HD static void step_tokens(Block const& b, shared<Block>& s, int t, int tile_tokens,
                                   int lane, int column, float (&h)[States],
                                   float const (&decay)[States], bool add) {
    float part[lanes];
    PLAIT_UNROLL
    for (int j = 0; j < lanes; ++j) {
      part[j] = 0;
      if (!Full && t + j >= tile_tokens) continue;
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
