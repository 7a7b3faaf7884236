// Fragments of matrices in the lanes of a warp, as mma takes them (gpu/block.hpp), and their loads.
//
// Lane (g, j) is lane 4 g + j. An 8 x 8 tile of bf16 is one word per lane: row g, columns 2 j and
// 2 j + 1.
// Equation: on a device prmt, movmatrix and ldmatrix; on the host their definition. Every lane of
//   the warp calls `transposed` and `load_transposed`
// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/math.hpp>

#include <bit>
#include <cstdint>
#include <type_traits>

/// Before a loop that stays rolled: ptxas reorders an unrolled one and keeps more values alive than
/// there are registers for.
#if defined(__CUDA_ARCH__)
#define PLAIT_ROLLED _Pragma("unroll 1")
#else
#define PLAIT_ROLLED
#endif

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// The lower or the upper halves of two words of two bf16 each.
PLAIT_HD inline std::uint32_t low_halves(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t word;
  asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(word) : "r"(a), "r"(b));
  return word;
#else
  return (a & 0xffffu) | b << 16;
#endif
}
PLAIT_HD inline std::uint32_t high_halves(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  std::uint32_t word;
  asm("prmt.b32 %0, %1, %2, 0x7632;" : "=r"(word) : "r"(a), "r"(b));
  return word;
#else
  return a >> 16 | (b & 0xffff0000u);
#endif
}

/// x, with its value hidden from the compiler, which then does not hoist computations on x out of a
/// loop, where their results would occupy registers.
template <class X>
PLAIT_HD inline X opaque(X x) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(X) == 4)
    asm volatile("" : "+r"(x));
  else
    asm volatile("" : "+l"(x));
#endif
  return x;
}

/// p[0] and p[1] in a word; `aligned`: p is a multiple of 4 bytes.
PLAIT_HD inline std::uint32_t load_pair(bf16_t const* p, bool aligned) {
  if (aligned) return *reinterpret_cast<std::uint32_t const*>(p);
  return std::uint32_t{p[0].bits} | std::uint32_t{p[1].bits} << 16;
}

/// The transpose of an 8 x 8 tile.
template <class Block>
PLAIT_HD inline std::uint32_t transposed(Block const& b, std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  std::uint32_t to;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(to) : "r"(word));
  return to;
#else
  int const g = b.lane() / 4;
  int const j = b.lane() % 4;
  std::uint32_t const first = b.shuffle(word, 8 * j + g / 2);
  std::uint32_t const second = b.shuffle(word, 8 * j + 4 + g / 2);
  return g % 2 == 0 ? low_halves(first, second) : high_halves(first, second);
#endif
}

/// Transposes of four 8 x 8 tiles of shared memory: lane 8 t + r passes the address of row r of
/// tile t, 16 bytes at a multiple of 16.
template <class Block>
PLAIT_HD inline void load_transposed(Block const& b, void const* row, std::uint32_t (&tiles)[4]) {
#if defined(__CUDA_ARCH__)
  auto const address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(address));
#else
  int const g = b.lane() / 4;
  int const j = b.lane() % 4;
  for (int t = 0; t < 4; ++t) {
    auto const* const first = static_cast<std::uint16_t const*>(b.shuffle(row, 8 * t + 2 * j));
    auto const* const second = static_cast<std::uint16_t const*>(b.shuffle(row, 8 * t + 2 * j + 1));
    tiles[t] = std::uint32_t{first[g]} | std::uint32_t{second[g]} << 16;
  }
#endif
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
