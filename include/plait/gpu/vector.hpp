// Vector loads and stores of a row's values, usually eight: 16 bytes of bf16.
// Shapes: `aligned` says that every vector of every row is at a multiple of 16 bytes; else values
//   are loaded and stored one by one
// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/view.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/math.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Values per vector of one thread: 16 bytes of bf16, twice 16 of f32.
inline constexpr int vector_elements = 8;

/// A row-major matrix as an argument of a kernel.
template <class T>
struct rows_of {
  T* data = nullptr;
  std::int64_t stride = 0;
  bool aligned = false;  ///< every vector of every row is at a multiple of 16 bytes
  rows_of() = default;
  rows_of(matrix_view<T> const& m)
      : data(m.data()),
        stride(m.stride()),
        aligned(reinterpret_cast<std::uintptr_t>(m.data()) % 16 == 0 &&
                m.stride() * std::int64_t{sizeof(T)} % 16 == 0) {}
  PLAIT_HD T* row(std::int64_t r) const { return data + r * stride; }
};

/// N values with the bits they have in memory, so that pending loads occupy few registers: 2, 4 or
/// 8 of bf16, 1 to 8 of f32, N a power of two.
template <class T, int N>
struct raw_values {
  static constexpr int bytes = N * static_cast<int>(sizeof(T)), words = bytes / 4;
  static_assert(words > 0 && (words & (words - 1)) == 0);
  std::uint32_t word[words] = {};

  /// Loads from[0, min(n, N)), padded with zeros. `aligned`: from is at a multiple of 16 bytes, or
  /// of N values where these are less.
  PLAIT_HD void load(T const* from, std::int64_t n, bool aligned) {
    if (aligned && n >= N) {
      if constexpr (words >= 4) {
        PLAIT_UNROLL
        for (int i = 0; i < words / 4; ++i) {
          words4 const w = reinterpret_cast<words4 const*>(from)[i];
          PLAIT_UNROLL
          for (int k = 0; k < 4; ++k) word[4 * i + k] = w.word[k];
        }
      } else if constexpr (words == 2) {
        words2 const w = *reinterpret_cast<words2 const*>(from);
        word[0] = w.word[0];
        word[1] = w.word[1];
      } else {
        word[0] = *reinterpret_cast<words1 const*>(from);
      }
      return;
    }
    PLAIT_UNROLL
    for (int i = 0; i < words; ++i) {
      if constexpr (sizeof(T) == 2) {
        std::uint32_t const low = 2 * i < n ? from[2 * i].bits : 0u;
        std::uint32_t const high = 2 * i + 1 < n ? from[2 * i + 1].bits : 0u;
        word[i] = low | high << 16;
      } else {
        word[i] = i < n ? std::bit_cast<std::uint32_t>(from[i]) : 0u;
      }
    }
  }
  /// Value i, which is a constant after unrolling: else the values are moved to local memory.
  PLAIT_HD float operator[](int i) const {
    if constexpr (sizeof(T) == 2)
      return i % 2 == 0 ? low_half(word[i / 2]) : high_half(word[i / 2]);
    else
      return std::bit_cast<float>(word[i]);
  }
};

/// Loads from[0, min(n, N)) as floats, padded with zeros. `aligned` as in raw_values::load.
template <class T, int N>
PLAIT_HD inline void load_vector(T const* from, std::int64_t n, bool aligned, float (&to)[N]) {
  raw_values<T, N> raw;
  raw.load(from, n, aligned);
  PLAIT_UNROLL
  for (int i = 0; i < N; ++i) to[i] = raw[i];
}

/// Stores from[0, min(n, N)) rounded to T. `aligned` as in raw_values::load, for `to`.
template <class T, int N>
PLAIT_HD inline void store_vector(T* to, std::int64_t n, bool aligned, float const (&from)[N]) {
  constexpr int words = raw_values<T, N>::words;
  if (aligned && n >= N) {
    std::uint32_t word[words];
    PLAIT_UNROLL
    for (int i = 0; i < words; ++i) {
      if constexpr (sizeof(T) == 2)
        word[i] = narrow_pair(from[2 * i], from[2 * i + 1]);
      else
        word[i] = std::bit_cast<std::uint32_t>(from[i]);
    }
    if constexpr (words >= 4) {
      PLAIT_UNROLL
      for (int i = 0; i < words / 4; ++i)
        reinterpret_cast<words4*>(to)[i] = {
            {word[4 * i], word[4 * i + 1], word[4 * i + 2], word[4 * i + 3]}};
    } else if constexpr (words == 2) {
      *reinterpret_cast<words2*>(to) = {{word[0], word[1]}};
    } else {
      *reinterpret_cast<words1*>(to) = word[0];
    }
    return;
  }
  PLAIT_UNROLL
  for (int i = 0; i < N; ++i)
    if (i < n) to[i] = narrow<T>(from[i]);
}

/// Whether rows of f32 `stride` values apart are aligned for vector loads.
PLAIT_HD inline bool aligned_rows(float const* at, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(at) % 16 == 0 && stride % 4 == 0;
}

/// The shared memory of kernels without any.
struct no_shared {};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
