// conv_silu on the CPU: channels side by side in a register, tokens one after another.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/ops/conv_silu.hpp>
#include <plait/ops/cpu/simd.hpp>

namespace plait::inline PLAIT_ABI::ops {

template <precision P>
struct conv_silu_op<exec::cpu<P>> {
  static void run(exec::cpu<P>& exec, sequences<float> const& seqs, matrix_view<float const> u, channel_tensor const& taps,
                  channel_tensor const* bias, matrix_view<float> y) {
    std::int64_t const blocks = (taps.rows() + simd::width - 1) / simd::width, items = seqs.count * blocks;
    exec.parallel(items, exec.grain(items),
                  [&](std::int64_t item, int) { channels(seqs, item / blocks, item % blocks * simd::width, u, taps, bias, y); });
  }

 private:
  static constexpr std::int64_t ahead = 12;

  static void channels(sequences<float> const& seqs, std::int64_t s, std::int64_t c, matrix_view<float const> u, channel_tensor const& taps,
                       channel_tensor const* bias, matrix_view<float> y) {
    using namespace simd;
    std::int64_t const d = taps.rows(), kept = taps.cols() - 1, n = std::min<std::int64_t>(width, d - c);
    std::int64_t const first = seqs.first_row[s], tokens = seqs.tokens(s);
    float* const window = seqs.state_of(s) + c;
    auto const input = [&](std::int64_t t) { return t < 0 ? window + (kept + t) * d : u.row(first + t) + c; };
    packet const start = bias != nullptr ? load(bias->column(0) + c, n) : set(0.0f);
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (t + ahead < tokens) __builtin_prefetch(u.row(first + t + ahead) + c);  // rows are pages apart: no hardware prefetcher follows
      packet sum = start;
      for (std::int64_t k = 0; k <= kept; ++k) sum = fma(load(taps.column(k) + c, n), load(input(t - kept + k), n), sum);
      store(y.row(first + t) + c, simd::silu(sum), n);
    }
    for (std::int64_t k = 0; k < kept; ++k)  // oldest first, so that a window moved on by few tokens is read before it is written
      store(window + k * d, load(input(tokens - kept + k), n), n);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
