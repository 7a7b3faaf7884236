// The interface between a kernel and the device: kernel types, the `block` concept, launch grids.
//
// A kernel is a type:
//
// - `struct args`: its arguments, passed by value: pointers, numbers, views; at most 4096 bytes
// - `static constexpr int threads`: threads per block, a multiple of 32
// - `static constexpr int min_blocks_per_multiprocessor`, optional: blocks per multiprocessor for
//   which the registers must suffice, the second argument of __launch_bounds__
// - `template <class Block> struct shared`: the block's shared memory, at most 48 KiB,
//   uninitialized
// - `template <class Block> static void run(Block const& block, shared<Block>& s, args const& a)`:
//   the body, which every thread of every block of the grid executes
//
// Nothing here is CUDA. With exec::cuda a block is a block of the device (cuda/block.cuh); on the
// emulator it is a set of fibers of one thread, in an order that changes between barriers
// (emulator/block.hpp).
//
// Template arguments of a kernel are numbers and element types, never policies: nvcc 13.0 launches
// a null function for some types that name a value of class type, without an error.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <concepts>
#include <cstdint>

// On the host only g++ unrolls, which lets it see that no array is read before it is written; clang
// warns of loops that it cannot unroll.
#if defined(__CUDA_ARCH__)
/// Before a loop that a kernel unrolls.
#define PLAIT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
// nvcc's host pass does not know this pragma.
#define PLAIT_UNROLL _Pragma("GCC unroll 64")
#else
#define PLAIT_UNROLL
#endif

PLAIT_NAMESPACE_BEGIN

/// Blocks of a launch; y and z at most 65535.
struct launch_grid {
  std::int64_t x = 1, y = 1, z = 1;
};

namespace kernels {

/// Threads of a warp.
inline constexpr int warp_size = 32;

/// Kernel::min_blocks_per_multiprocessor, or 0, which leaves the number of registers to the
/// compiler: now and then it takes slightly too few and spills.
template <class Kernel>
constexpr int min_blocks_of() {
  if constexpr (requires { Kernel::min_blocks_per_multiprocessor; })
    return Kernel::min_blocks_per_multiprocessor;
  else
    return 0;
}

/// What a kernel may ask of its block. Every thread of the block calls sync, sum, maximum and scan;
/// every lane of a warp calls shuffle, mma and sync_warp.
///
/// - `thread()` in [0, threads), `lane()`, `warp()`
/// - `x()`, `y()`, `z()`: the block's place in the grid; `grid_x()`, `grid_y()`: its size
/// - `sync()`, `sync_warp()`: barriers
/// - `shuffle(value, lane)`: the value of another lane of the warp; `shuffle_xor(value, mask)`: of
///   lane() ^ mask
/// - `mma(sums, a, b)`: m16n8k16 of bf16 with f32 sums, a [16][16] row-major, b [16][8]
///   column-major, fragments as PTX defines them
/// - `copy_async(to, from, valid)`: copies 16 bytes from global to shared memory, both addresses
///   multiples of 16; writes zeros where not `valid`, with `from` still an address of the device.
///   `commit_copies()` closes a group of the copies since the last one; `wait_for_copies<N>()`
///   waits until at most N of this thread's groups are pending. The completed copies are visible to
///   this thread, and to others after a barrier
/// - `sum(space, value)`, `maximum(space, value)`: over the block, the result to every thread
/// - `scan(space, values, op, carry)`: inclusive, over Items consecutive values per thread; begins
///   with the carry, which becomes the last value
///
/// `space` is a Block::reduce_space or Block::scan_space<T> in shared memory; it may be reused
/// after a sync.
///
/// Equation: every thread of a block reaches every barrier, every lane of a warp every shuffle
/// Shapes: threads a multiple of 32; shared memory at most 48 KiB, uninitialized; y and z of a grid
///   at most 65535
/// Test: tests/unit/emulator/block_test.cpp
template <class B>
concept block = requires(B const b, float x, typename B::reduce_space& space) {
  { B::threads } -> std::convertible_to<int>;
  { b.thread() } -> std::convertible_to<int>;
  { b.lane() } -> std::convertible_to<int>;
  { b.warp() } -> std::convertible_to<int>;
  { b.x() } -> std::convertible_to<std::int64_t>;
  { b.y() } -> std::convertible_to<std::int64_t>;
  { b.z() } -> std::convertible_to<std::int64_t>;
  { b.grid_x() } -> std::convertible_to<std::int64_t>;
  b.sync();
  b.sync_warp();
  { b.shuffle(x, 0) } -> std::same_as<float>;
  { b.shuffle_xor(x, 1) } -> std::same_as<float>;
  { b.sum(space, x) } -> std::same_as<float>;
  b.commit_copies();
  b.template wait_for_copies<1>();
};

/// Waits until at most Groups groups of this thread's copies are pending.
template <int Groups, class Block>
PLAIT_HD inline void wait_for_copies(Block const& b) {
  b.template wait_for_copies<Groups>();
}

/// The sum over the warp, to every lane.
template <class Block>
PLAIT_HD inline float warp_sum(Block const& b, float x) {
  for (int mask = warp_size / 2; mask > 0; mask /= 2) x += b.shuffle_xor(x, mask);
  return x;
}
/// The maximum over the warp, to every lane.
template <class Block>
PLAIT_HD inline float warp_maximum(Block const& b, float x) {
  for (int mask = warp_size / 2; mask > 0; mask /= 2) {
    float const other = b.shuffle_xor(x, mask);
    x = x > other ? x : other;
  }
  return x;
}

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
