// Eight values of a row at once.
#pragma once

#include <plait/core/view.hpp>
#include <plait/exec/block.hpp>
#include <plait/ops/cuda/math.hpp>

#include <cstdint>

namespace plait::inline PLAIT_ABI::kernels {

/// Values that one thread takes together: 16 bytes of bf16, twice 16 of f32.
inline constexpr int lot = 8;

/// A row-major matrix as kernels are given it.
template <class T>
struct rows_of {
  T* data = nullptr;
  std::int64_t stride = 0;
  bool aligned = false;  ///< every lot of every row stands at a multiple of 16 bytes
  rows_of() = default;
  rows_of(matrix_view<T> const& m)
      : data(m.data()),
        stride(m.stride()),
        aligned(reinterpret_cast<std::uintptr_t>(m.data()) % 16 == 0 && m.stride() * std::int64_t{sizeof(T)} % 16 == 0) {}
  PLAIT_HD T* row(std::int64_t r) const { return data + r * stride; }
};

/// from[0, min(n, lot)) as floats, zeros behind. `aligned`: from stands at a multiple of 16 bytes.
template <class T>
PLAIT_HD inline void load_lot(T const* from, std::int64_t n, bool aligned, float (&to)[lot]) {
  if (aligned && n >= lot) {
    if constexpr (sizeof(T) == 2) {
      words4 const w = *reinterpret_cast<words4 const*>(from);
      PLAIT_UNROLL
      for (int i = 0; i < 4; ++i) to[2 * i] = low_half(w.word[i]), to[2 * i + 1] = high_half(w.word[i]);
    } else {
      PLAIT_UNROLL
      for (int h = 0; h < 2; ++h) {
        words4 const w = reinterpret_cast<words4 const*>(from)[h];
        PLAIT_UNROLL
        for (int i = 0; i < 4; ++i) to[4 * h + i] = std::bit_cast<float>(w.word[i]);
      }
    }
    return;
  }
  PLAIT_UNROLL
  for (int i = 0; i < lot; ++i) to[i] = i < n ? widen(from[i]) : 0.0f;
}

/// from[0, min(n, lot)) rounded to T. `aligned` as above, of `to`.
template <class T>
PLAIT_HD inline void store_lot(T* to, std::int64_t n, bool aligned, float const (&from)[lot]) {
  if (aligned && n >= lot) {
    if constexpr (sizeof(T) == 2) {
      words4 w;
      PLAIT_UNROLL
      for (int i = 0; i < 4; ++i)
        w.word[i] = std::uint32_t{narrow<T>(from[2 * i]).bits} | std::uint32_t{narrow<T>(from[2 * i + 1]).bits} << 16;
      *reinterpret_cast<words4*>(to) = w;
    } else {
      PLAIT_UNROLL
      for (int h = 0; h < 2; ++h) {
        words4 w;
        PLAIT_UNROLL
        for (int i = 0; i < 4; ++i) w.word[i] = std::bit_cast<std::uint32_t>(from[4 * h + i]);
        reinterpret_cast<words4*>(to)[h] = w;
      }
    }
    return;
  }
  PLAIT_UNROLL
  for (int i = 0; i < lot; ++i)
    if (i < n) to[i] = narrow<T>(from[i]);
}

/// What kernels without shared memory share.
struct no_shared {};

}  // namespace plait::inline PLAIT_ABI::kernels
