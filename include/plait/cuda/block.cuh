// A block of a CUDA device.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>

#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// A thread's view of its block on a CUDA device; models kernels::block (gpu/block.hpp). Reductions
/// and scans are CUB's, with the result to every thread.
///
/// Test: tests/unit/cuda/ptxas.sh; on a device the tests of kernels compiled for it
///   (tests/unit/cuda/gpu_main.cu)
template <int Threads>
class cuda_block {
  static_assert(Threads % kernels::warp_size == 0 && Threads <= 1024,
                "plait: a block has whole warps, at most 32");
  using reduction = cub::BlockReduce<float, Threads>;
  template <class T>
  using scanning = cub::BlockScan<T, Threads, cub::BLOCK_SCAN_WARP_SCANS>;

 public:
  static constexpr int threads = Threads;

  struct reduce_space {
    typename reduction::TempStorage parts;
    float result;
  };
  template <class T>
  struct scan_space {
    typename scanning<T>::TempStorage parts;
  };

  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int lane() const { return thread() % kernels::warp_size; }
  __device__ int warp() const { return thread() / kernels::warp_size; }
  __device__ std::int64_t x() const { return blockIdx.x; }
  __device__ std::int64_t y() const { return blockIdx.y; }
  __device__ std::int64_t z() const { return blockIdx.z; }
  __device__ std::int64_t grid_x() const { return gridDim.x; }
  __device__ std::int64_t grid_y() const { return gridDim.y; }
  __device__ void sync() const { __syncthreads(); }
  __device__ void sync_warp() const { __syncwarp(); }

  template <class T>
  __device__ T shuffle(T value, int lane) const {
    return __shfl_sync(every_lane, value, lane);
  }
  template <class T>
  __device__ T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(every_lane, value, mask);
  }

  __device__ void mma(float (&sums)[4], std::uint32_t const (&a)[4],
                      std::uint32_t const (&b)[2]) const {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  __device__ void copy_async(void* to, void const* from, bool valid = true) const {
    auto const address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
  }
  __device__ void copies_end() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int Groups>
  __device__ void copies_left() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
  }

  __device__ float sum(reduce_space& space, float value) const {
    return broadcast(space, reduction(space.parts).Sum(value));
  }
  __device__ float maximum(reduce_space& space, float value) const {
    return broadcast(
        space, reduction(space.parts).Reduce(value, [](float a, float b) { return fmaxf(a, b); }));
  }
  /// Each thread reduces its items, the block scans the totals exclusively, and each thread scans
  /// its items from there: the carry needs no barrier.
  template <class T, int Items, class Op>
  __device__ void scan(scan_space<T>& space, T (&values)[Items], Op op, T& carry) const {
    T total = values[0];
    T before;
    T all;
    PLAIT_UNROLL
    for (int i = 1; i < Items; ++i) total = op(total, values[i]);
    scanning<T>(space.parts).ExclusiveScan(total, before, op, all);
    before = thread() == 0 ? carry : op(carry, before);
    PLAIT_UNROLL
    for (int i = 0; i < Items; ++i) before = values[i] = op(before, values[i]);
    carry = op(carry, all);
  }

 private:
  static constexpr unsigned every_lane = 0xffffffffu;
  /// The value of thread 0, to every thread.
  __device__ float broadcast(reduce_space& space, float value) const {
    if (thread() == 0) space.result = value;
    __syncthreads();
    return space.result;
  }
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
