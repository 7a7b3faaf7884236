// selective_scan on the CPU: channels side by side in vector registers, runs of states in
// registers, tiles of tokens in the L1 cache.
// Equation: an output is one chain from D u over the states upwards, then gated; the update of a
//   state is one fused multiply-add, 2^(delta A log2(e)) S + (delta u) B. Runs of 16, 8, 4 and 1
//   states (8, 4 and 1 without AVX-512) change no operation; neither does the shape of a tile: up
//   to 16 tokens of 4 registers of channels, or fewer tokens of more registers, so that independent
//   chains overlap
// Cost: delta, delta u and the outputs of a tile are computed once for all states; rows of the next
//   tile are prefetched. With one token, A and the state are read and the state written once.
//   Threads share (sequence, run of at most 64 registers of channels), not the tokens of a sequence
// Test: tests/unit/ops/selective_scan/selective_scan_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/selective_scan/selective_scan.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// selective_scan for every precision of the CPU.
struct selective_scan_cpu {
  static void run(exec::host& exec, sequences<float> const& seqs, scan_input<float> const& in,
                  state_tensor const& a_log, channel_tensor const& d, matrix_view<float> y);
};

template <precision P>
struct selective_scan_op<exec::cpu<P>> : selective_scan_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {
namespace detail {

struct selective_scan_kernel {
  static void run(exec::host& exec, sequences<float> const& seqs, scan_input<float> const& in,
                  state_tensor const& a_log, channel_tensor const& d, matrix_view<float> y) {
    std::int64_t const blocks = (a_log.rows() + width - 1) / width;
    std::int64_t const run = std::min(max_blocks_per_run, exec.grain(blocks * seqs.count));
    std::int64_t const runs = (blocks + run - 1) / run;
    exec.parallel(seqs.count * runs, [&](std::int64_t item, int) {
      std::int64_t const s = item / runs;
      std::int64_t const begin = item % runs * run;
      std::int64_t const end = std::min(begin + run, blocks);
      for (std::int64_t first = seqs.first_row[s]; first < seqs.first_row[s + 1];
           first += max_tokens) {
        std::int64_t const tokens = std::min(max_tokens, seqs.first_row[s + 1] - first);
        std::int64_t const blocks_per_tile = tile_registers / tokens;
        for (std::int64_t b = begin; b < end; b += blocks_per_tile)
          scan_tile({first, tokens, b * width,
                     std::min(std::min(b + blocks_per_tile, end) * width, a_log.rows())},
                    seqs.state_of(s), in, a_log, d, y);
      }
    });
  }

 private:
  using packet = simd::packet;
  static constexpr std::int64_t width = simd::width;
  static_assert(width == state_tensor::block);
  /// Blocks (registers) of channels that a thread takes through all tokens, tile by tile: their
  /// state and A stay in the L2 cache, and rows are read 4 KiB at a time where there are that many
  /// channels.
  static constexpr std::int64_t max_blocks_per_run = 64;
  /// A tile has `max_tokens` tokens of some blocks, or fewer tokens of more blocks: there are
  /// always independent chains to compute.
  static constexpr std::int64_t max_tokens = 16, tile_registers = 64;
  static constexpr int max_states = width == 16 ? 16 : 8;  ///< held in registers at a time

  /// Of a tile, [block][token] registers: delta, delta u, and the chains of the outputs, which
  /// begin at D u.
  struct tile_values {
    alignas(64) float delta[tile_registers * width], delta_u[tile_registers * width],
        y[tile_registers * width];
  };
  /// Rows [first, first + tokens) and channels [begin, end).
  struct tile_bounds {
    std::int64_t first, tokens, begin, end;
    /// Channels of the block that begins at channel c.
    std::int64_t channels(std::int64_t c) const { return std::min(width, end - c); }
  };

  static void scan_tile(tile_bounds const r, float* S, scan_input<float> const& in,
                        state_tensor const& a_log, channel_tensor const& d,
                        matrix_view<float> out) {
    using namespace simd;
    tile_values t;
    std::int64_t at = 0;
    for (std::int64_t c = r.begin; c < r.end; c += width) {
      std::int64_t const n = r.channels(c);
      packet const skip = load(d.column(0) + c, n);
      for (std::int64_t i = r.first; i < r.first + r.tokens; ++i, at += width) {
        packet const u = load(in.u.row(i) + c, n);
        packet const delta = simd::softplus(load(in.dt.row(i) + c, n));
        store(t.delta + at, delta);
        store(t.delta_u + at, mul(delta, u));
        store(t.y + at, mul(skip, u));
      }
    }
    // The cost of one or two tokens is the traffic of states: runs of 8 states over all blocks keep
    // fewer cache lines at distances of a power of two, which compete for the same L1 sets.
    std::int64_t const states = a_log.cols();
    std::int64_t state = 0;
    if (max_states > 8 && r.tokens <= 2)
      while (states - state >= 8) run_states<8>(t, r, state, S, in, a_log);
    while (states - state >= max_states) run_states<max_states>(t, r, state, S, in, a_log);
    if (max_states > 8 && states - state >= 8) run_states<8>(t, r, state, S, in, a_log);
    if (states - state >= 4) run_states<4>(t, r, state, S, in, a_log);
    while (states - state >= 1) run_states<1>(t, r, state, S, in, a_log);
    at = 0;
    for (std::int64_t c = r.begin; c < r.end; c += width)
      for (std::int64_t i = r.first; i < r.first + r.tokens; ++i, at += width)
        store(out.row(i) + c, mul(load(t.y + at), simd::silu(load(in.z.row(i) + c, r.channels(c)))),
              r.channels(c));
  }

  /// Moves states [state, state + States) through the tile. The chain of an output runs over the
  /// states upwards, run after run.
  template <int States>
  static void run_states(tile_values& t, tile_bounds const r, std::int64_t& state, float* S,
                         scan_input<float> const& in, state_tensor const& a_log) {
    using namespace simd;
    std::int64_t const d = a_log.rows(), next_tile = r.end - r.begin;
    std::int64_t at = 0;
    [&]<int... N>(std::integer_sequence<int, N...>) __attribute__((always_inline)) {
      for (std::int64_t c = r.begin; c < r.end; c += width) {
        std::int64_t const n = r.channels(c);
        float* const s = S + state * d + c;
        float const* const a = a_log.log2_decay(c) + state * width;
        packet h[States] = {load(s + N * d, n)...};
        for (std::int64_t i = r.first; i < r.first + r.tokens; ++i, at += width) {
          if (state == 0)
            for (float const* row : {in.dt.row(i), in.u.row(i), in.z.row(i)})
              __builtin_prefetch(row + c + next_tile);
          packet const delta = load(t.delta + at), delta_u = load(t.delta_u + at);
          packet y = load(t.y + at);
          float const *const B = in.B.row(i) + state, *const C = in.C.row(i) + state;
          ((h[N] = fma(exp2(mul(delta, load(a + N * width))), h[N], mul(delta_u, set(B[N]))),
            y = fma(h[N], set(C[N]), y)),
           ...);
          store(t.y + at, y);
        }
        (store(s + N * d, h[N], n), ...);
      }
    }
    (std::make_integer_sequence<int, States>{});
    state += States;
  }
};

}  // namespace detail

PLAIT_OP void selective_scan_cpu::run(exec::host& exec, sequences<float> const& seqs,
                                      scan_input<float> const& in, state_tensor const& a_log,
                                      channel_tensor const& d, matrix_view<float> y) {
  detail::selective_scan_kernel::run(exec, seqs, in, a_log, d, y);
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
