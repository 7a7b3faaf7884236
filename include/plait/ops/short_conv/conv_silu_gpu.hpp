// conv_silu on a device: a thread takes eight channels, or two where that reaches more
// multiprocessors, through a tile of tokens, with taps and window in registers. Rows before a tile
// are read from u, those before the new tokens of a sequence from its state.
// Shapes: up to 4 taps with eight or two channels per thread, up to 16 taps with two, more with one
//   and nothing in registers; tiles of 64 tokens, down to 16 while there are fewer than 4 blocks
//   per multiprocessor
// Test: tests/unit/ops/short_conv/conv_silu_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/ops/short_conv/conv_silu.hpp>
#include <plait/ops/short_conv/gpu/conv_silu.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <precision P, class Runtime>
struct conv_silu_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <class Memory>
  static void run(device& exec, sequences<T> const& seqs, matrix_view<T const> u,
                  device_vector<Memory> const& taps, device_vector<Memory> const* bias,
                  matrix_view<T> y) {
    float const* const from = bias != nullptr ? bias->device_view() : nullptr;
    if (taps.cols() > 16) return launch<0, 1>(exec, seqs, u, taps, from, y);
    if (taps.cols() > 4) return launch<16, 2>(exec, seqs, u, taps, from, y);
    // Eight channels per thread move 16 bytes at a time; two reach more multiprocessors.
    if (blocks(8, min_tile, taps.rows(), seqs) < exec.runtime.multiprocessor_count())
      return launch<4, 2>(exec, seqs, u, taps, from, y);
    launch<4, 8>(exec, seqs, u, taps, from, y);
  }

 private:
  static constexpr std::int64_t threads = kernels::conv_silu<T, 4, 8>::threads;
  /// Tokens. A tile reads width - 1 rows more than it has; tiles are halved until every
  /// multiprocessor has min_blocks_per_multiprocessor blocks.
  static constexpr std::int64_t max_tile = 64, min_tile = 16, min_blocks_per_multiprocessor = 4;

  static std::int64_t pieces(std::int64_t channels_per_thread, std::int64_t channels) {
    return (channels + channels_per_thread * threads - 1) / (channels_per_thread * threads);
  }
  static std::int64_t tiles(std::int64_t tile, sequences<T> const& seqs) {
    return std::max<std::int64_t>(1, (seqs.longest + tile - 1) / tile);
  }
  static std::int64_t blocks(std::int64_t channels_per_thread, std::int64_t tile,
                             std::int64_t channels, sequences<T> const& seqs) {
    return pieces(channels_per_thread, channels) * tiles(tile, seqs) * seqs.count;
  }

  template <int Width, int Channels, class Memory>
  static void launch(device& exec, sequences<T> const& seqs, matrix_view<T const> u,
                     device_vector<Memory> const& taps, float const* bias, matrix_view<T> y) {
    std::int64_t const channels = taps.rows(), width = taps.cols();
    std::int64_t tile = max_tile;
    while (tile > min_tile &&
           blocks(Channels, tile, channels, seqs) <
               min_blocks_per_multiprocessor * exec.runtime.multiprocessor_count())
      tile /= 2;
    tile = std::max(tile, width - 1);
    exec.template launch<kernels::conv_silu<T, Width, Channels>>(
        {.x = pieces(Channels, channels) * tiles(tile, seqs),
         .y = std::min<std::int64_t>(seqs.count, 65535)},
        {seqs, u, y, taps.device_view(), bias, channels, width, tile, pieces(Channels, channels)});
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
