// Kernels of conv_silu.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// `Channels` channels a thread and up to `Width` taps in registers; Width 0: any number of taps,
/// one channel, nothing kept.
///
/// Blocks are tiles of tokens, and before them pieces of the channels; block (x, y) takes sequences
/// y, y + grid_y... Only the first tile reaches that far back (a tile has at least as many tokens
/// as the window), so its threads, and no others, read the old state and write the new one.
/// Equation: one chain an output, from the bias, over the taps upwards, whatever the tile: any
///   split into calls gives the same bits
/// Shapes: up to 4 taps, up to 16 (two channels a thread), any number (one channel, nothing kept);
///   tiles of 64 tokens, down to 16 while there are fewer than 4 blocks a multiprocessor
/// Cost: u read once but for the 3 rows before a tile, y written once, 16 bytes at a time; a step
///   reads and writes the window once
/// Test: tests/unit/ops/short_conv/conv_silu_gpu_test.cpp
template <class T, int Width, int Channels>
struct conv_silu {
  static constexpr int threads = 128, blocks = Width > 4 ? 2 : sizeof(T) * Channels > 16 ? 3 : 4;
  struct args {
    sequences<T> seqs;
    rows_of<T const> u;
    rows_of<T> y;
    float const *taps, *bias;  ///< [width][channels], [channels] or null
    std::int64_t channels, width, tile, pieces;
  };
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const c = (b.x() % a.pieces * threads + b.thread()) * Channels,
                       begin = b.x() / a.pieces * a.tile;
    if (c >= a.channels) return;
    if constexpr (Width > 0)
      in_registers(b, a, c, begin);
    else
      from_memory(b, a, c, begin);
  }

 private:
  static constexpr int kept = Width > 0 ? Width - 1 : 0, at_once = 4;
  using values = float[Channels];

  template <class Block>
  PLAIT_HD static void in_registers(Block const& b, args const& a, std::int64_t c,
                                    std::int64_t begin) {
    std::int64_t const left = a.channels - c, before = a.width - 1;
    int const unused =
        Width - static_cast<int>(a.width);  // taps, and places of the window, at the front
    bool const aligned_weights = aligned_rows(a.taps, a.channels);
    float taps[Width][Channels] = {}, bias[Channels] = {};
    PLAIT_UNROLL
    for (int k = 0; k < Width; ++k)
      if (k >= unused)
        load_vector(a.taps + (k - unused) * a.channels + c, left, aligned_weights, taps[k]);
    if (a.bias != nullptr) load_vector(a.bias + c, left, true, bias);

    for (std::int64_t s = b.y(); s < a.seqs.count; s += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[s], total = a.seqs.tokens(s),
                         end = begin + a.tile < total ? begin + a.tile : total;
      if (begin >= total) continue;
      float* const state = a.seqs.state_of(s) + c;
      bool const aligned_state = aligned_rows(state - c, a.channels);
      float window[kept > 0 ? kept : 1][Channels] = {};
      PLAIT_UNROLL
      for (int k = 0; k < kept; ++k) {
        std::int64_t const t = begin - kept + k;
        if (k < unused) continue;
        if (t < 0)
          load_vector(state + (before + t) * a.channels, left, aligned_state, window[k]);
        else
          load_vector(a.u.row(first + t) + c, left, a.u.aligned, window[k]);
      }
      T const* from = a.u.row(first + begin) + c;
      T* to = a.y.row(first + begin) + c;
      for (std::int64_t rest = end - begin; rest > 0; rest -= at_once) {
        raw_values<T, Channels> u[at_once];
        PLAIT_UNROLL
        for (int j = 0; j < at_once; ++j, from += a.u.stride)
          if (j < rest) u[j].load(from, left, a.u.aligned);
        PLAIT_UNROLL
        for (int j = 0; j < at_once; ++j) {
          if (j >= rest) continue;
          float y[Channels];
          PLAIT_UNROLL
          for (int i = 0; i < Channels; ++i) y[i] = bias[i];
          PLAIT_UNROLL
          for (int k = 0; k < kept; ++k) {
            if (k < unused) continue;  // nothing is multiplied by zero that may be no number
            PLAIT_UNROLL
            for (int i = 0; i < Channels; ++i) y[i] = fmaf(taps[k][i], window[k][i], y[i]);
          }
          PLAIT_UNROLL
          for (int i = 0; i < Channels; ++i) y[i] = silu(fmaf(taps[Width - 1][i], u[j][i], y[i]));
          store_vector(to, left, a.y.aligned, y);
          to += a.y.stride;
          PLAIT_UNROLL
          for (int k = 0; k < kept; ++k) {
            PLAIT_UNROLL
            for (int i = 0; i < Channels; ++i)
              window[k][i] = k + 1 < kept ? window[k + 1][i] : u[j][i];
          }
        }
      }
      if (begin > 0) continue;
      PLAIT_UNROLL
      for (int k = 0; k < kept; ++k) {
        if (k < unused) continue;
        if (end < total)
          load_vector(a.u.row(first + total - kept + k) + c, left, a.u.aligned, window[k]);
        store_vector(state + (k - unused) * a.channels, left, aligned_state, window[k]);
      }
    }
  }

  template <class Block>
  PLAIT_HD static void from_memory(Block const& b, args const& a, std::int64_t c,
                                   std::int64_t begin) {
    std::int64_t const before = a.width - 1;
    for (std::int64_t s = b.y(); s < a.seqs.count; s += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[s], total = a.seqs.tokens(s),
                         end = begin + a.tile < total ? begin + a.tile : total;
      float* const state = a.seqs.state_of(s) + c;
      auto const input = [&](std::int64_t t) {
        return t < 0 ? state[(before + t) * a.channels] : widen(a.u.row(first + t)[c]);
      };
      for (std::int64_t t = begin; t < end; ++t) {
        float y = a.bias != nullptr ? a.bias[c] : 0.0f;
        for (std::int64_t k = 0; k < a.width; ++k)
          y = fmaf(a.taps[k * a.channels + c], input(t - before + k), y);
        a.y.row(first + t)[c] = narrow<T>(silu(y));
      }
      // Oldest first: what a short call keeps of the window is read before its place is written.
      if (begin == 0 && total > 0)
        for (std::int64_t k = 0; k < before; ++k) state[k * a.channels] = input(total - before + k);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
