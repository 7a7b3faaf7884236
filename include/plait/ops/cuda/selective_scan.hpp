// selective_scan on a device: channels in tiles, tokens one after the other; a scan over tokens where channels are few; a step of one
// token.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/cuda/affine.hpp>
#include <plait/ops/cuda/vector.hpp>
#include <plait/ops/selective_scan.hpp>

#include <algorithm>
#include <cstddef>

namespace plait::inline PLAIT_ABI::kernels {

/// What the three kernels are given. `decay` is A log2(e), [N][d]; `skip` is D.
template <class T>
struct scan_args {
  sequences<T> seqs;
  rows_of<T const> u, z, dt, B, C;
  float const *decay, *skip;
  rows_of<T> y;
  std::int64_t channels, states;
};

/// Four lanes share the states of a channel: of 16 successive ones, lane l has 4 l to 4 l + 3. A lane sums up its own in their order, then
/// the sums of the lanes are added as (0 + 2) + (1 + 3), then those of successive runs of states. Tiles and steps do the same, so that
/// their results are the same bits.
inline constexpr int scan_lanes = 4;
/// States of one run, for a number of them: as many as are kept in registers at a time.
PLAIT_HD constexpr int scan_run(std::int64_t states) { return states <= 16 ? 16 : states <= 32 ? 32 : 64; }

/// The sums of four lanes that stand `Apart` lanes apart, of four things: lane l gets the sum of thing l, by three shuffles.
template <int Apart, class Block>
PLAIT_HD inline float sum_for_each_lane(Block const& b, int lane, float (&part)[scan_lanes]) {
  PLAIT_UNROLL
  for (int m = scan_lanes / 2; m > 0; m /= 2) {
    bool const upper = (lane & m) != 0;
    PLAIT_UNROLL
    for (int j = 0; j < m; ++j) {
      float const mine = upper ? part[j + m] : part[j], other = upper ? part[j] : part[j + m];
      part[j] = mine + b.shuffle_xor(other, m * Apart);
    }
  }
  return part[0];
}

/// Block (x, y) takes 32 channels of sequences y, y + grid_y... through their tokens, in tiles of 32 tokens. A thread loads one lot of u, z
/// and dt a tile, the next tile's while this one is computed, so that a softplus and a gate are computed once a value; B and C are loaded
/// once a block. States stay in registers from the first token to the last where one run holds them, 4 lanes * States; further runs
/// take turns over a tile.
template <class T, int States>
struct selective_scan_tiles {
  using args = scan_args<T>;
  static constexpr int lanes = scan_lanes, channels = 32, tokens = 32, threads = channels * lanes, run_states = lanes * States;
  static constexpr int blocks = States <= 4 ? 4 : States <= 8 ? 3 : 2;
  static constexpr int row_lots = channels / lot, quads = run_states / 4, run_lots = run_states / lot;
  static constexpr int pieces = 2 * tokens * run_lots / threads;  ///< lots of B and C that a thread loads
  static_assert(row_lots * tokens == threads && pieces * threads == 2 * tokens * run_lots && States % 4 == 0);

  struct alignas(16) quad {
    float of[4];
  };
  template <class Block>
  struct shared {
    quad BC[2][tokens][quads];
    // Rows apart by what keeps threads that store, and load, at the same time off one another's banks.
    alignas(16) float delta[tokens][channels + 4], delta_u[tokens][channels + 4], sum[tokens][channels + 8];
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    int const lane = b.lane() / 8, column = b.warp() * 8 + b.lane() % 8;
    std::int64_t const first_channel = b.x() * channels, channel = first_channel + column;
    bool const live = channel < a.channels;
    // The lot that this thread moves.
    int const own_token = b.thread() / row_lots, own = b.thread() % row_lots * lot;
    std::int64_t const own_channel = first_channel + own, own_left = a.channels - own_channel;
    bool const own_aligned = a.u.aligned && a.z.aligned && a.dt.aligned, bc_aligned = a.B.aligned && a.C.aligned;
    std::int64_t const runs = (a.states + run_states - 1) / run_states;

    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[seq], total = a.seqs.tokens(seq);
      if (total == 0) continue;
      float* const state = a.seqs.state_of(seq);
      float h[States] = {}, decay[States] = {};
      raw_values<T, lot> u, dt, bc[pieces];
      // Rows behind the last token are not loaded, and what is left in their place not used.
      T const* own_u_at = a.u.row(first + own_token) + own_channel;
      T const* own_z_at = a.z.row(first + own_token) + own_channel;
      T const* own_dt_at = a.dt.row(first + own_token) + own_channel;
      T* own_y_at = a.y.row(first + own_token) + own_channel;
      T const* bc_at[pieces];
      PLAIT_UNROLL
      for (int p = 0; p < pieces; ++p) {
        int const e = p * threads + b.thread();
        bc_at[p] = (e < tokens * run_lots ? a.B : a.C).row(first + e / run_lots % tokens) + e % run_lots * lot;
      }
      auto const load_own = [&](std::int64_t begin) {
        if (begin + own_token >= total || own_left <= 0) return;
        dt.load(own_dt_at, own_left, own_aligned), u.load(own_u_at, own_left, own_aligned);
        own_dt_at += tokens * a.dt.stride, own_u_at += tokens * a.u.stride;
      };
      auto const load_bc = [&](std::int64_t begin, std::int64_t r) {
        PLAIT_UNROLL
        for (int p = 0; p < pieces; ++p) {
          int const e = p * threads + b.thread();
          std::int64_t const n = r * run_states + e % run_lots * lot;
          if (begin + e / run_lots % tokens < total) bc[p].load(bc_at[p] + r * run_states, a.states - n, bc_aligned);
          if (r + 1 == runs) bc_at[p] += tokens * (e < tokens * run_lots ? a.B : a.C).stride;
        }
      };
      load_own(0), load_bc(0, 0);
      for (std::int64_t begin = 0; begin < total; begin += tokens) {
        int const here = static_cast<int>(total - begin < tokens ? total - begin : tokens);
        bool const last = begin + tokens >= total;
        raw_values<T, lot> const own_u = u;
        raw_values<T, lot> own_z;
        PLAIT_UNROLL
        for (int q = 0; q < lot; q += 4) {
          quad delta, delta_u;
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i) delta.of[i] = softplus(dt[q + i]), delta_u.of[i] = delta.of[i] * u[q + i];
          *reinterpret_cast<quad*>(&s.delta[own_token][own + q]) = delta;
          *reinterpret_cast<quad*>(&s.delta_u[own_token][own + q]) = delta_u;
        }
        for (std::int64_t r = 0; r < runs; ++r) {
          PLAIT_UNROLL
          for (int p = 0; p < pieces; ++p) {
            int const e = p * threads + b.thread(), t = e / run_lots % tokens, which = e / (tokens * run_lots);
            PLAIT_UNROLL
            for (int q = 0; q < lot; q += 4)
              s.BC[which][t][(e % run_lots * lot + q) / 4] = {{bc[p][q], bc[p][q + 1], bc[p][q + 2], bc[p][q + 3]}};
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
          if (r == 0 && own_token < here && own_left > 0) own_z.load(own_z_at, own_left, own_aligned), own_z_at += tokens * a.z.stride;
          if (r + 1 < runs) load_bc(begin, r + 1);
          else if (!last) load_own(begin + tokens), load_bc(begin + tokens, 0);
          int t = 0;
          constexpr int groups = States <= 4 ? 2 : 1;  // at once, as registers allow
          for (; t + groups * lanes <= here; t += groups * lanes) {
            PLAIT_UNROLL
            for (int g = 0; g < groups; ++g) tokens_of_lanes<true>(b, s, t + g * lanes, here, lane, column, h, decay, r > 0);
          }
          for (; t < here; t += lanes) tokens_of_lanes<false>(b, s, t, here, lane, column, h, decay, r > 0);
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
          float skip[lot], y[lot];
          load_lot(a.skip + own_channel, own_left, true, skip);
          PLAIT_UNROLL
          for (int i = 0; i < lot; ++i) y[i] = fmaf(skip[i], own_u[i], s.sum[own_token][own + i]) * silu(own_z[i]);
          store_lot(own_y_at, own_left, a.y.aligned, y);
          own_y_at += tokens * a.y.stride;
        }
      }
    }
  }

 private:
  /// Of the States of a lane, where state i stands in the run.
  static PLAIT_HD constexpr int place(int i, int lane) { return i / 4 * 16 + lane * 4 + i % 4; }

  /// Tokens t to t + 3 of a tile, as far as there are any: moves the states on, and sums up what they add to y.
  template <bool Whole, class Block>
  PLAIT_HD static void tokens_of_lanes(Block const& b, shared<Block>& s, int t, int here, int lane, int column, float (&h)[States],
                                       float const (&decay)[States], bool add) {
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

/// One token of every sequence, or none. A thread has one channel for what is done once a value, and for the states those of 4 channels and
/// 4 states of 16, loaded and stored 16 bytes at a time; four lanes exchange the rest. Block (x, y) takes 128 channels of sequences y,
/// y + grid_y...
template <class T>
struct selective_scan_step {
  using args = scan_args<T>;
  static constexpr int threads = 128, blocks = 5, lanes = scan_lanes;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    int const lane = b.lane() % lanes;
    std::int64_t const channel = b.x() * threads + b.thread(), base = channel - lane, left = a.channels - base;
    std::int64_t const run_states = scan_run(a.states);
    bool const aligned_decay = aligned_rows(a.decay, a.channels);
    float decay[4][lanes] = {};
    auto const load_decay = [&](std::int64_t first) {
      PLAIT_UNROLL
      for (int i = 0; i < 4; ++i) {
        std::int64_t const n = first + lane * 4 + i;
        load_lot(a.decay + n * a.channels + base, n < a.states ? left : 0, aligned_decay, decay[i]);
      }
    };
    if (a.states <= 16) load_decay(0);  // of all sequences
    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      if (a.seqs.tokens(seq) == 0) continue;
      std::int64_t const row = a.seqs.first_row[seq];
      float* const state = a.seqs.state_of(seq);
      bool const aligned = aligned_rows(state, a.channels);
      bool const live = channel < a.channels;
      float const u = live ? widen(a.u.row(row)[channel]) : 0.0f, z = live ? widen(a.z.row(row)[channel]) : 0.0f;
      float const own_delta = live ? softplus(widen(a.dt.row(row)[channel])) : 0.0f, own_delta_u = own_delta * u;
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
          std::int64_t const n = first + lane * 4, rest = n < a.states ? a.states - n : 0;
          float S[4][lanes], B[4], C[4];
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i) load_lot(state + (n + i) * a.channels + base, i < rest ? left : 0, aligned, S[i]);
          load_lot(a.B.row(row) + n, rest, a.B.aligned, B), load_lot(a.C.row(row) + n, rest, a.C.aligned, C);
          if (a.states > 16) load_decay(first);
          PLAIT_UNROLL
          for (int i = 0; i < 4; ++i) {
            if (i >= rest) continue;
            PLAIT_UNROLL
            for (int c = 0; c < lanes; ++c) {
              S[i][c] = fmaf(kernels::exp2(delta[c] * decay[i][c]), S[i][c], delta_u[c] * B[i]);
              part[c] = fmaf(S[i][c], C[i], part[c]);
            }
            store_lot(state + (n + i) * a.channels + base, left, aligned, S[i]);
          }
        }
        float const of_run = sum_for_each_lane<1>(b, lane, part);
        sum = run > 0 ? sum + of_run : of_run;
      }
      if (live) a.y.row(row)[channel] = narrow<T>(fmaf(a.skip[channel], u, sum) * silu(z));
    }
  }
};

/// Block (x, y) takes 4 channels of sequences y, y + grid_y... through their tokens, 512 at a time: a thread has 4 successive tokens, and
/// the maps that they are for a state are scanned over the block, a state after the other.
template <class T>
struct selective_scan_blocks {
  using args = scan_args<T>;
  static constexpr int threads = 128, blocks = sizeof(T) == 2 ? 3 : 2, items = 4, channels = 4, tokens = threads * items, together = 4,
                       most_states = 256;
  using row = affine_row<channels>;
  template <class Block>
  struct shared {
    typename Block::template scan_space<row> space;
    float carried[most_states][channels];  ///< the state before the first token of a tile
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    std::int64_t const base = b.x() * channels, left = a.channels - base;
    float skip[channels];
    load_lot(a.skip + base, left, true, skip);
    for (std::int64_t seq = b.y(); seq < a.seqs.count; seq += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[seq], total = a.seqs.tokens(seq);
      if (total == 0) continue;
      float* const state = a.seqs.state_of(seq);
      for (std::int64_t e = b.thread(); e < a.states * channels; e += threads)
        s.carried[e / channels][e % channels] = e % channels < left ? state[e / channels * a.channels + base + e % channels] : 0.0f;
      for (std::int64_t begin = 0; begin < total; begin += tokens) {
        b.sync();  // what is carried is there
        std::int64_t const t = begin + b.thread() * items;
        float delta[items][channels], delta_u[items][channels], y[items][channels];
        PLAIT_UNROLL
        for (int i = 0; i < items; ++i) {
          std::int64_t const here = t + i < total ? left : 0, at = here > 0 ? first + t + i : first;
          float u[channels];
          load_lot(a.dt.row(at) + base, here, a.dt.aligned, delta[i]), load_lot(a.u.row(at) + base, here, a.u.aligned, u);
          PLAIT_UNROLL
          for (int c = 0; c < channels; ++c) delta[i][c] = softplus(delta[i][c]), delta_u[i][c] = delta[i][c] * u[c], y[i][c] = 0;
        }
        for (std::int64_t n = 0; n < a.states; n += together) {
          float B[items][together], C[items][together];
          PLAIT_UNROLL
          for (int i = 0; i < items; ++i) {
            std::int64_t const here = t + i < total ? a.states - n : 0, at = here > 0 ? first + t + i : first;
            load_lot(a.B.row(at) + n, here, a.B.aligned, B[i]), load_lot(a.C.row(at) + n, here, a.C.aligned, C[i]);
          }
          PLAIT_UNROLL
          for (int k = 0; k < together; ++k) {
            if (n + k >= a.states) continue;
            float decay[channels];
            load_lot(a.decay + (n + k) * a.channels + base, left, aligned_rows(a.decay, a.channels), decay);
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
              if (b.thread() == 0) s.carried[n + k][c] = carried.of[c].b;  // read again after the next tile's barrier
            }
            b.sync();  // the space is free
          }
        }
        PLAIT_UNROLL
        for (int i = 0; i < items; ++i) {
          if (t + i >= total) continue;
          float u[channels], z[channels];
          load_lot(a.u.row(first + t + i) + base, left, a.u.aligned, u), load_lot(a.z.row(first + t + i) + base, left, a.z.aligned, z);
          PLAIT_UNROLL
          for (int c = 0; c < channels; ++c) y[i][c] = fmaf(skip[c], u[c], y[i][c]) * silu(z[c]);
          store_lot(a.y.row(first + t + i) + base, left, a.y.aligned, y[i]);
        }
      }
      b.sync();
      for (std::int64_t e = b.thread(); e < a.states * channels; e += threads)
        if (e % channels < left) state[e / channels * a.channels + base + e % channels] = s.carried[e / channels][e % channels];
      b.sync();
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

/// How a device computes a call: the results of tiles and steps are the same bits, those of blocks other roundings.
enum class scan_form {
  tiles,   ///< 32 channels a block, one token after the other
  blocks,  ///< 4 channels a block, scanned over the tokens
  step,    ///< one token a sequence
};

/// Tiles keep the device busy from two or three of them a multiprocessor on, and none idle from one on. A scan computes twice as much, so
/// that it is for fewer than 3/4 of that; and in a multiple of 512 tokens.
constexpr scan_form scan_form_of(std::int64_t channels, std::int64_t states, std::int64_t sequences, std::int64_t longest, int processors) {
  if (longest <= 1) return scan_form::step;
  std::int64_t const tiles = (channels + 31) / 32 * sequences;
  bool const few = 4 * tiles < 3 * std::int64_t{processors} && longest >= 256;
  return few && states <= kernels::selective_scan_blocks<float>::most_states ? scan_form::blocks : scan_form::tiles;
}

template <precision P, class Runtime>
struct selective_scan_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <class Memory>
  static void run(device& exec, sequences<T> const& seqs, scan_input<T> const& in, device_state<Memory> const& a_log,
                  device_vector<Memory> const& d, matrix_view<T> y) {
    run_as(scan_form_of(a_log.rows(), a_log.cols(), seqs.count, seqs.longest, exec.runtime.processors()), exec, seqs, in, a_log, d, y);
  }

  /// In a form that is given: steps only where no sequence has more than one token, blocks only for up to most_states states.
  template <class Memory>
  static void run_as(scan_form form, device& exec, sequences<T> const& seqs, scan_input<T> const& in, device_state<Memory> const& a_log,
                     device_vector<Memory> const& d, matrix_view<T> y) {
    kernels::scan_args<T> const args{seqs, in.u, in.z, in.dt, in.B, in.C, a_log.there(), d.there(), y, a_log.rows(), a_log.cols()};
    if (form == scan_form::blocks)
      return launch<kernels::selective_scan_blocks<T>>(exec, args, kernels::selective_scan_blocks<T>::channels, seqs.count);
    if (form == scan_form::step) {
      using kernel = kernels::selective_scan_step<T>;
      // Blocks for all multiprocessors, and beyond that sequences behind one another, so that A is read less often.
      std::int64_t const across = (args.channels + kernel::threads - 1) / kernel::threads;
      std::int64_t const most =
          std::max<std::int64_t>(1, blocks_a_processor * exec.runtime.processors() / std::max<std::int64_t>(1, across));
      return launch<kernel>(exec, args, kernel::threads, std::min(seqs.count, most));
    }
    switch (kernels::scan_run(args.states)) {
      case 16:
        return tiles<4>(exec, args);
      case 32:
        return tiles<8>(exec, args);
      default:
        return tiles<16>(exec, args);
    }
  }

 private:
  static constexpr std::int64_t blocks_a_processor = 16;  ///< of steps, 128 threads each: as many as a multiprocessor holds

  template <int States>
  static void tiles(device& exec, kernels::scan_args<T> const& args) {
    using kernel = kernels::selective_scan_tiles<T, States>;
    launch<kernel>(exec, args, kernel::channels, args.seqs.count);
  }
  template <class Kernel>
  static void launch(device& exec, kernels::scan_args<T> const& args, std::int64_t channels, std::int64_t down) {
    exec.template launch<Kernel>({.x = (args.channels + channels - 1) / channels, .y = std::min<std::int64_t>(down, 65535)}, args);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
