// What a kernel sees of the threads it runs among.
//
// A kernel is a type:
//
// - struct args: what it is given, by value: pointers, numbers, views
// - static constexpr int threads: of a block, a multiple of 32
// - static constexpr int min_blocks_per_multiprocessor: if given: so many have room on a
//   multiprocessor at the same time, in registers too
// - `template <class Block> struct shared`: the block's shared memory, at most 48 KiB,
//   uninitialized
//   template <class Block> static void run(Block const& block, shared<Block>& s, args const& a)
// run is executed by every thread of every block of the grid. Nothing here is CUDA: with exec::cuda
// a block is a block of the device (cuda/block.cuh); with exec::emulated it is fibers of one thread
// of this machine, in an order that changes between barriers.
//
// Template arguments of a kernel are numbers and element types, never policies: nvcc 13.0 launches
// a null function for some types that name a value of class type, without an error.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <concepts>
#include <cstdint>

// On this machine unrolling is of no use, and clang warns where it cannot; g++ sees by it that no
// array is read before it is written.
#if defined(__CUDA_ARCH__)
/// Before a loop that a kernel unrolls.
#define PLAIT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__) && !defined(__clang__) && \
    !defined(__CUDACC__)  // nor does nvcc's pass for this machine know it
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

/// Kernel::min_blocks_per_multiprocessor, or 0: as the compiler thinks best, which is now and then
/// a little less than is needed, and spills.
template <class Kernel>
constexpr int blocks_of() {
  if constexpr (requires { Kernel::min_blocks_per_multiprocessor; })
    return Kernel::min_blocks_per_multiprocessor;
  else
    return 0;
}

/// What a body may ask of its block. Every thread of the block calls sync, sum, maximum and scan;
/// every thread of a warp calls the rest.
///   thread() in [0, Block::threads), lane(), warp()
/// - `x(), y(), z()`: of the block in the grid, which has grid_x() blocks along x
/// - `sync(), sync_warp()`: barriers
/// - `shuffle(value, lane)`: the value of another lane of the warp; shuffle_xor(value, mask): of
///   lane() ^ mask
/// - `mma(sums, a, b)`: m16n8k16 of bf16, f32 sums, a [16][16] row-major, b [16][8] column-major,
///   as PTX lays them out
/// - `copy_async(to, from, there)`: 16 bytes from the device's memory to shared memory, both at
///   multiples of 16; zeros where not `there`, of a place that is named all the same. copies_end()
///   makes a group of what was copied since the last one; copies_left<N>() waits until at most N
///   groups of this thread's are on their way, and only then are they there: for this thread, for
///   others a barrier later
/// - `sum(space, value), maximum(...)`: over the block, the result to every thread
/// - `scan(space, values, op, carry)`: inclusive, of Items consecutive values a thread, with the
///   carry in front; carry becomes the last
///
/// where space is a Block::reduce_space or Block::scan_space<T> of the shared memory; a space may
/// be used again after a sync.
/// Equation: a kernel is a type with `args`, `threads`, `shared<Block>` and `run(block, shared,
///   args)`, which every thread of every block executes; every thread of a block comes to every
///   barrier, every lane of a warp to every shuffle. Its
///   `min_blocks_per_multiprocessor`, if it has one: so many are to have room on a multiprocessor
///   at a time
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
  b.copies_end();
  b.template copies_left<1>();
};

/// Waits until at most Groups groups of this thread's copies are on their way.
template <int Groups, class Block>
PLAIT_HD inline void copies_left(Block const& b) {
  b.template copies_left<Groups>();
}

/// Over the warp, to every lane.
template <class Block>
PLAIT_HD inline float warp_sum(Block const& b, float x) {
  for (int mask = warp_size / 2; mask > 0; mask /= 2) x += b.shuffle_xor(x, mask);
  return x;
}
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
