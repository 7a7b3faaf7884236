// Kernel that widens int8 weights to bf16.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/math.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// int8 weights to rows of bf16, rounded to nearest: one warp per tile.
///
/// Shapes: rows are tile_cols col_tiles() values apart; those beyond the last are zero
/// Cost: one byte read and two written per weight
/// Test: tests/unit/ops/linear/linear_gpu_test.cpp
struct dequantize {
  struct args {
    device_weights<dtype::int8> weight;
    bf16_t* rows;
  };
  static constexpr int warps = 8;
  static constexpr int threads = warps * warp_size;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    auto const& w = a.weight;
    std::int64_t const tiles = w.col_tiles();
    std::int64_t const stride = tiles * w.tile_cols;
    int const lane = b.lane();
    for (std::int64_t k = b.y() * warps + b.warp(); k < tiles; k += b.grid_y() * warps) {
      std::int64_t const tile = b.x() * tiles + k;
      words4 const packed =
          load_once(reinterpret_cast<words4 const*>(w.data + tile * w.tile_bytes + lane * 16));
      PLAIT_UNROLL
      for (int half = 0; half < 2; ++half) {
        float const scale = widen_f16(w.scales[tile * w.tile_rows + half * 8 + lane / 4]);
        float v[vector_elements];
        PLAIT_UNROLL
        for (int i = 0; i < vector_elements; ++i)
          v[i] = scale * static_cast<float>(static_cast<std::int8_t>(
                             packed.word[i / 2] >> (8 * half + 16 * (i % 2)) & 0xffu));
        store_vector(a.rows + (b.x() * w.tile_rows + half * 8 + lane / 4) * stride +
                         k * w.tile_cols + lane % 4 * vector_elements,
                     vector_elements, true, v);
      }
    }
  }
};

}  // namespace kernels

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
