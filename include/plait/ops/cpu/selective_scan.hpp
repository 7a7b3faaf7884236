// selective_scan on the CPU: channels side by side in a register, a run of states in registers, tiles of tokens in the L1 cache.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/cpu/simd.hpp>
#include <plait/ops/selective_scan.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct selective_scan_op<exec::cpu<P>> {
  static void run(exec::cpu<P>& exec, sequences<float> const& seqs, scan_input<float> const& in, state_tensor const& a_log,
                  channel_tensor const& d, matrix_view<float> y) {
    std::int64_t const blocks = (a_log.rows() + simd::width - 1) / simd::width, items = seqs.count * blocks;
    exec.parallel(items, exec.grain(items),
                  [&](std::int64_t item, int) { channels(seqs, item / blocks, item % blocks * simd::width, in, a_log, d, y); });
  }

 private:
  using packet = simd::packet;
  static constexpr int width = simd::width, tile_tokens = 32;
  static constexpr int most_states = width == 16 ? 16 : 4;  ///< as many as leave registers for the exp

  /// One tile of one register of channels: delta, delta * u, and the output's chains, which begin at D * u.
  struct tile {
    alignas(64) float delta[tile_tokens * width], delta_u[tile_tokens * width], y[tile_tokens * width];
  };

  static void channels(sequences<float> const& seqs, std::int64_t s, std::int64_t c, scan_input<float> const& in, state_tensor const& a_log,
                       channel_tensor const& d, matrix_view<float> out) {
    using namespace simd;
    std::int64_t const n = std::min<std::int64_t>(width, a_log.rows() - c), states = a_log.cols();
    packet const skip = load(d.column(0) + c, n);
    for (std::int64_t first = seqs.first_row[s]; first < seqs.first_row[s + 1]; first += tile_tokens) {
      std::int64_t const tokens = std::min<std::int64_t>(tile_tokens, seqs.first_row[s + 1] - first);
      tile t;
      for (std::int64_t i = 0; i < tokens; ++i) {
        packet const u = load(in.u.row(first + i) + c, n), delta = simd::softplus(load(in.dt.row(first + i) + c, n));
        store(t.delta + i * width, delta);
        store(t.delta_u + i * width, mul(delta, u));
        store(t.y + i * width, mul(skip, u));
      }
      std::int64_t state = 0;
      while (states - state >= most_states) run_states<most_states>(t, tokens, first, c, n, state, seqs.state_of(s), in, a_log);
      if constexpr (most_states > 8)
        if (states - state >= 8) run_states<8>(t, tokens, first, c, n, state, seqs.state_of(s), in, a_log);
      if constexpr (most_states > 4)
        if (states - state >= 4) run_states<4>(t, tokens, first, c, n, state, seqs.state_of(s), in, a_log);
      while (states - state >= 1) run_states<1>(t, tokens, first, c, n, state, seqs.state_of(s), in, a_log);
      for (std::int64_t i = 0; i < tokens; ++i)
        store(out.row(first + i) + c, mul(load(t.y + i * width), simd::silu(load(in.z.row(first + i) + c, n))), n);
    }
  }

  /// States [state, state + States) over the tile; the chain of an output runs over the states upwards, run after run.
  template <int States>
  static void run_states(tile& t, std::int64_t tokens, std::int64_t first, std::int64_t c, std::int64_t n, std::int64_t& state, float* S,
                         scan_input<float> const& in, state_tensor const& a_log) {
    using namespace simd;
    std::int64_t const d = a_log.rows();
    S += state * d + c;
    [&]<int... N>(std::integer_sequence<int, N...>) __attribute__((always_inline)) {
      packet h[States] = {load(S + N * d, n)...};
      float const* const a[States] = {a_log.negative_exp(state + N) + c...};  // a full register from here stays inside the tensor
      for (std::int64_t i = 0; i < tokens; ++i) {
        packet const delta = load(t.delta + i * width), delta_u = load(t.delta_u + i * width);
        packet y = load(t.y + i * width);
        float const *const B = in.B.row(first + i) + state, *const C = in.C.row(first + i) + state;
        ((h[N] = fma(exp(mul(delta, load(a[N]))), h[N], mul(delta_u, set(B[N]))), y = fma(h[N], set(C[N]), y)), ...);
        store(t.y + i * width, y);
      }
      (store(S + N * d, h[N], n), ...);
    }
    (std::make_integer_sequence<int, States>{});
    state += States;
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
