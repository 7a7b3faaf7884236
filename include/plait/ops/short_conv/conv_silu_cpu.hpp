// conv_silu on the CPU: token by token over a run of channels, side by side in vector registers.
// The window is read as if it stood before the input, and written last.
// Equation: one chain per output, from the bias, over the taps upwards; unrolled for 2, 3 and 4
//   taps, a loop for others
// Cost: the rows of a window and the taps stay in the L1 cache; the next row is prefetched. Threads
//   share (sequence, run of at most 64 registers of channels)
// Test: tests/unit/ops/short_conv/conv_silu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/compiled.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/ops/short_conv/conv_silu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// conv_silu for every precision of the CPU.
struct conv_silu_cpu {
  static void run(exec::host& exec, sequences<float> const& seqs, matrix_view<float const> u,
                  channel_tensor const& taps, channel_tensor const* bias, matrix_view<float> y);

 private:
  /// Blocks (registers) of channels that a thread takes through all tokens: the rows of the window
  /// and the taps stay in the L1 cache, and rows are read 4 KiB at a time where there are that many
  /// channels.
  static constexpr std::int64_t max_blocks_per_run = 64;

  /// Channels [c, c + n) of sequence s. Taps is taps.cols() for common widths, so that the loop
  /// over the taps is unrolled; otherwise 0.
  template <int Taps>
  static void channels(sequences<float> const& seqs, std::int64_t s, std::int64_t c, std::int64_t n,
                       matrix_view<float const> u, channel_tensor const& taps,
                       channel_tensor const* bias, matrix_view<float> y);
};

template <precision P>
struct conv_silu_op<exec::cpu<P>> : conv_silu_cpu {};

}  // namespace ops
PLAIT_NAMESPACE_END

#if PLAIT_DEFINE_OPS
#include <plait/cpu/simd.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

PLAIT_OP void conv_silu_cpu::run(exec::host& exec, sequences<float> const& seqs,
                                 matrix_view<float const> u, channel_tensor const& taps,
                                 channel_tensor const* bias, matrix_view<float> y) {
  std::int64_t const blocks = (taps.rows() + simd::width - 1) / simd::width;
  std::int64_t const run = std::min(max_blocks_per_run, exec.grain(blocks * seqs.count));
  std::int64_t const runs = (blocks + run - 1) / run;
  exec.parallel(seqs.count * runs, [&](std::int64_t item, int) {
    std::int64_t const c = item % runs * run * simd::width;
    std::int64_t const n = std::min(run * simd::width, taps.rows() - c);
    switch (taps.cols()) {
      case 2:
        return channels<2>(seqs, item / runs, c, n, u, taps, bias, y);
      case 3:
        return channels<3>(seqs, item / runs, c, n, u, taps, bias, y);
      case 4:
        return channels<4>(seqs, item / runs, c, n, u, taps, bias, y);
      default:
        return channels<0>(seqs, item / runs, c, n, u, taps, bias, y);
    }
  });
}

template <int Taps>
void conv_silu_cpu::channels(sequences<float> const& seqs, std::int64_t s, std::int64_t c,
                             std::int64_t n, matrix_view<float const> u, channel_tensor const& taps,
                             channel_tensor const* bias, matrix_view<float> y) {
  using namespace simd;
  std::int64_t const d = taps.rows();
  std::int64_t const count = Taps > 0 ? Taps : taps.cols();
  std::int64_t const window_rows = count - 1;
  std::int64_t const first = seqs.first_row[s];
  std::int64_t const tokens = seqs.tokens(s);
  float const* const tap = taps.column(0) + c;
  float const* const start = bias != nullptr ? bias->column(0) + c : nullptr;
  float* const window = seqs.state_of(s) + c;
  auto const input = [&](std::int64_t t) {
    return t < 0 ? window + (window_rows + t) * d : u.row(first + t) + c;
  };
  for (std::int64_t t = 0; t < tokens; ++t) {
    float const* rows[Taps > 0 ? Taps : 1];
    for (int k = 0; k < Taps; ++k) rows[k] = input(t - window_rows + k);
    auto const row = [&](std::int64_t k) {
      return Taps > 0 ? rows[k] : input(t - window_rows + k);
    };
    float* const out = y.row(first + t) + c;
    float const* const next = t + 1 < tokens ? u.row(first + t + 1) + c : out;
    auto const at = [&](std::int64_t i, std::int64_t m) __attribute__((always_inline)) {
      __builtin_prefetch(next + i);
      packet sum = start != nullptr ? load(start + i, m) : set(0.0f);
      for (std::int64_t k = 0; k < count; ++k)
        sum = fma(load(tap + k * d + i, m), load(row(k) + i, m), sum);
      store(out + i, simd::silu(sum), m);
    };
    std::int64_t i = 0;
    for (; i + width <= n; i += width) at(i, width);
    if (i < n) at(i, n - i);
  }
  // Oldest first: rows of the old window that stay are read before their place is written.
  for (std::int64_t k = 0; k < window_rows; ++k) {
    float const* const from = input(tokens - window_rows + k);
    for_each_packet(n, [&](std::int64_t i, std::int64_t m) {
      store(window + k * d + i, load(from + i, m), m);
    });
  }
}

}  // namespace ops
PLAIT_NAMESPACE_END
#endif

#include <plait/core/epilogue.hpp>
