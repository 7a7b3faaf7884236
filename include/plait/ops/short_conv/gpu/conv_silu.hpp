// The kernel of conv_silu.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// A thread takes `Channels` channels, with up to `Width` taps and the window in registers; Width 0
/// is any number of taps, one channel, and nothing in registers.
///
/// Block (x, y): x counts tiles of tokens and, within a tile, pieces of the channels; y takes
/// sequences y, y + grid_y... A tile has at least as many tokens as the window, so that only the
/// first one reads the old state. The threads of the first tile, and no others, read the old state
/// and write the new one.
/// Equation: one chain per output, from the bias, over the taps upwards, whatever the tile: any
///   split into calls gives the same bits
/// Cost: u read once, except the rows of the window before a tile; y written once; 16 bytes at a
///   time; a step reads and writes the window once
/// Test: tests/unit/ops/short_conv/conv_silu_gpu_test.cpp
template <class T, int Width, int Channels>
struct conv_silu {
  static constexpr int threads = 128;
  static constexpr int min_blocks_per_multiprocessor = Width > 4                   ? 2
                                                       : sizeof(T) * Channels > 16 ? 3
                                                                                   : 4;
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
    std::int64_t const c = (b.x() % a.pieces * threads + b.thread()) * Channels;
    std::int64_t const begin = b.x() / a.pieces * a.tile;
    if (c >= a.channels) return;
    if constexpr (Width > 0)
      in_registers(b, a, c, begin);
    else
      from_memory(b, a, c, begin);
  }

 private:
  static constexpr int max_window_rows = Width > 0 ? Width - 1 : 0;
  static constexpr int tokens_per_load = 4;
  using values = float[Channels];

  template <class Block>
  PLAIT_HD static void in_registers(Block const& b, args const& a, std::int64_t c,
                                    std::int64_t begin) {
    std::int64_t const valid_channels = a.channels - c;
    std::int64_t const window_rows = a.width - 1;
    // Taps, and rows of the window, at the front.
    int const unused = Width - static_cast<int>(a.width);
    bool const aligned_weights = aligned_rows(a.taps, a.channels);
    float taps[Width][Channels] = {}, bias[Channels] = {};
    PLAIT_UNROLL
    for (int k = 0; k < Width; ++k)
      if (k >= unused)
        load_vector(a.taps + (k - unused) * a.channels + c, valid_channels, aligned_weights,
                    taps[k]);
    if (a.bias != nullptr) load_vector(a.bias + c, valid_channels, true, bias);

    for (std::int64_t s = b.y(); s < a.seqs.count; s += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[s];
      std::int64_t const total = a.seqs.tokens(s);
      std::int64_t const end = begin + a.tile < total ? begin + a.tile : total;
      if (begin >= total) continue;
      float* const state = a.seqs.state_of(s) + c;
      bool const aligned_state = aligned_rows(state - c, a.channels);
      float window[max_window_rows > 0 ? max_window_rows : 1][Channels] = {};
      PLAIT_UNROLL
      for (int k = 0; k < max_window_rows; ++k) {
        std::int64_t const t = begin - max_window_rows + k;
        if (k < unused) continue;
        if (t < 0)
          load_vector(state + (window_rows + t) * a.channels, valid_channels, aligned_state,
                      window[k]);
        else
          load_vector(a.u.row(first + t) + c, valid_channels, a.u.aligned, window[k]);
      }
      T const* from = a.u.row(first + begin) + c;
      T* to = a.y.row(first + begin) + c;
      for (std::int64_t remaining = end - begin; remaining > 0; remaining -= tokens_per_load) {
        raw_values<T, Channels> u[tokens_per_load];
        PLAIT_UNROLL
        for (int j = 0; j < tokens_per_load; ++j, from += a.u.stride)
          if (j < remaining) u[j].load(from, valid_channels, a.u.aligned);
        PLAIT_UNROLL
        for (int j = 0; j < tokens_per_load; ++j) {
          if (j >= remaining) continue;
          float y[Channels];
          PLAIT_UNROLL
          for (int i = 0; i < Channels; ++i) y[i] = bias[i];
          PLAIT_UNROLL
          for (int k = 0; k < max_window_rows; ++k) {
            if (k < unused) continue;  // a NaN times a tap of zero would be NaN
            PLAIT_UNROLL
            for (int i = 0; i < Channels; ++i) y[i] = fmaf(taps[k][i], window[k][i], y[i]);
          }
          PLAIT_UNROLL
          for (int i = 0; i < Channels; ++i) y[i] = silu(fmaf(taps[Width - 1][i], u[j][i], y[i]));
          store_vector(to, valid_channels, a.y.aligned, y);
          to += a.y.stride;
          PLAIT_UNROLL
          for (int k = 0; k < max_window_rows; ++k) {
            PLAIT_UNROLL
            for (int i = 0; i < Channels; ++i)
              window[k][i] = k + 1 < max_window_rows ? window[k + 1][i] : u[j][i];
          }
        }
      }
      if (begin > 0) continue;
      PLAIT_UNROLL
      for (int k = 0; k < max_window_rows; ++k) {
        if (k < unused) continue;
        if (end < total)
          load_vector(a.u.row(first + total - max_window_rows + k) + c, valid_channels, a.u.aligned,
                      window[k]);
        store_vector(state + (k - unused) * a.channels, valid_channels, aligned_state, window[k]);
      }
    }
  }

  template <class Block>
  PLAIT_HD static void from_memory(Block const& b, args const& a, std::int64_t c,
                                   std::int64_t begin) {
    std::int64_t const window_rows = a.width - 1;
    for (std::int64_t s = b.y(); s < a.seqs.count; s += b.grid_y()) {
      std::int64_t const first = a.seqs.first_row[s];
      std::int64_t const total = a.seqs.tokens(s);
      std::int64_t const end = begin + a.tile < total ? begin + a.tile : total;
      float* const state = a.seqs.state_of(s) + c;
      auto const input = [&](std::int64_t t) {
        return t < 0 ? state[(window_rows + t) * a.channels] : widen(a.u.row(first + t)[c]);
      };
      for (std::int64_t t = begin; t < end; ++t) {
        float y = a.bias != nullptr ? a.bias[c] : 0.0f;
        for (std::int64_t k = 0; k < a.width; ++k)
          y = fmaf(a.taps[k * a.channels + c], input(t - window_rows + k), y);
        a.y.row(first + t)[c] = narrow<T>(silu(y));
      }
      // Oldest first: rows of the old window that stay are read before their place is written.
      if (begin == 0 && total > 0)
        for (std::int64_t k = 0; k < window_rows; ++k)
          state[k * a.channels] = input(total - window_rows + k);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
