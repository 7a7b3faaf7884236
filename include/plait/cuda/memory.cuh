// The memory of the current device (core/memory.hpp).
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cuda/error.cuh>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Memory of the calling thread's current device (as core/memory.hpp wants it). All that happens to
/// it here is done on CUDA's legacy default stream, which waits for the stream of a cuda_runtime,
/// as that waits for it: so it is in order with the kernels.
/// Equation: what happens to it is in order with the kernels of a cuda_runtime (cuda.cuh)
/// Cost: a buffer is one cudaMalloc, zeroed; freeing one waits for the kernels
/// Test: tests/unit/cuda/runtime_test.cu
struct cuda_memory {
  /// Zero at first. plait::error with the bytes needed and those free when memory runs out. The
  /// destructor waits for the kernels.
  template <class T>
  class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

   public:
    buffer() = default;
    explicit buffer(std::int64_t size) : size_(size) {
      if (size == 0) return;
      if (size < 0 || size > INT64_MAX / 2 / static_cast<std::int64_t>(sizeof(T)))
        throw error("exec::cuda: out of memory: " + std::to_string(size) + " values of " +
                    std::to_string(sizeof(T)) + " bytes are needed");
      data_.reset(static_cast<T*>(allocate(size * static_cast<std::int64_t>(sizeof(T)))));
      clear(data_.get(), size);
    }
    T* data() { return data_.get(); }
    T const* data() const { return data_.get(); }
    std::int64_t size() const { return size_; }

   private:
    struct release {
      void operator()(T* p) const { (void)cudaFree(p); }
    };
    std::unique_ptr<T[], release> data_;
    std::int64_t size_ = 0;
  };

  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    move(from, n, to, cudaMemcpyDeviceToDevice, "copying memory of the device");
  }
  template <class T>
  static void clear(T* at, std::int64_t n) {
    if (n == 0) return;
    cuda_check::require_usable();
    cuda_check::check(
        cudaMemsetAsync(at, 0, static_cast<std::size_t>(n) * sizeof(T), cudaStreamLegacy),
        "clearing memory of the device");
  }
  /// From this machine; `from` may be changed afterwards.
  template <class T>
  static void copy_in(T const* from, std::int64_t n, T* to) {
    move(from, n, to, cudaMemcpyHostToDevice, "copying memory to the device");
    cuda_check::check(cudaStreamSynchronize(cudaStreamLegacy), "copying memory to the device");
  }
  /// To this machine, when all kernels have run.
  template <class T>
  static void copy_out(T const* from, std::int64_t n, T* to) {
    move(from, n, to, cudaMemcpyDeviceToHost, "copying memory from the device");
    cuda_check::check(cudaStreamSynchronize(cudaStreamLegacy), "copying memory from the device");
  }

  /// plait::error, before anything is allocated, unless `bytes` for `what` are free.
  static void require(std::int64_t bytes, char const* what) {
    cuda_check::require_usable();
    std::size_t free = 0, total = 0;
    cuda_check::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    if (bytes > static_cast<std::int64_t>(free))
      throw error(std::string("exec::cuda: out of memory: ") + what + " needs " +
                  cuda_check::bytes(bytes) + " of the device, of whose " +
                  cuda_check::bytes(static_cast<std::int64_t>(total)) + " " +
                  cuda_check::bytes(static_cast<std::int64_t>(free)) + " are free");
  }

 private:
  static void* allocate(std::int64_t bytes) {
    cuda_check::require_usable();
    void* p = nullptr;
    cudaError_t const code = cudaMalloc(&p, static_cast<std::size_t>(bytes));
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      require(bytes, "a block");
      throw error("exec::cuda: out of memory: " + cuda_check::bytes(bytes) +
                  " in one piece are needed");
    }
    cuda_check::check(code, "cudaMalloc");
    return p;
  }
  template <class T>
  static void move(T const* from, std::int64_t n, T* to, cudaMemcpyKind kind, char const* what) {
    if (n == 0) return;
    cuda_check::require_usable();
    cuda_check::check(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), kind, cudaStreamLegacy),
        what);
  }
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
