// CUDA's memory policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sentence.hpp>
#include <plait/cuda/error.cuh>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Memory of the calling thread's current device; a memory policy (core/memory.hpp).
///
/// Equation: all copies run on CUDA's legacy default stream, which is in order with the stream of a
///   cuda_runtime (cuda/runtime.cuh), and so with its kernels
/// Errors: plait::error with the bytes needed and those free when memory runs out
/// Cost: a buffer is one cudaMalloc and is zeroed; freeing one waits for the kernels
/// Test: tests/unit/cuda/runtime_test.cu
struct cuda_memory {
  /// An array in the device's memory, initially zero.
  template <class T>
  class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

   public:
    buffer() = default;
    explicit buffer(std::int64_t size) : size_(size) {
      if (size == 0) return;
      if (size < 0 || size > INT64_MAX / 2 / static_cast<std::int64_t>(sizeof(T)))
        throw error(sentence("exec::cuda: out of memory: {} values of {} bytes are needed", size,
                             sizeof(T)));
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
  /// Copies from the host; `from` may be changed afterwards.
  template <class T>
  static void copy_in(T const* from, std::int64_t n, T* to) {
    move(from, n, to, cudaMemcpyHostToDevice, "copying memory to the device");
    cuda_check::check(cudaStreamSynchronize(cudaStreamLegacy), "copying memory to the device");
  }
  /// Copies to the host, after all kernels.
  template <class T>
  static void copy_out(T const* from, std::int64_t n, T* to) {
    move(from, n, to, cudaMemcpyDeviceToHost, "copying memory from the device");
    cuda_check::check(cudaStreamSynchronize(cudaStreamLegacy), "copying memory from the device");
  }

  /// Throws plait::error unless `bytes` bytes for `what` are free.
  static void require(std::int64_t bytes, char const* what) {
    cuda_check::require_usable();
    std::size_t free = 0;
    std::size_t total = 0;
    cuda_check::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    if (bytes > static_cast<std::int64_t>(free))
      throw error(sentence(
          "exec::cuda: out of memory: {} needs {} of the device, of whose {} {} are "
          "free",
          what, cuda_check::bytes(bytes), cuda_check::bytes(static_cast<std::int64_t>(total)),
          cuda_check::bytes(static_cast<std::int64_t>(free))));
  }

 private:
  static void* allocate(std::int64_t bytes) {
    cuda_check::require_usable();
    void* p = nullptr;
    cudaError_t const code = cudaMalloc(&p, static_cast<std::size_t>(bytes));
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      require(bytes, "a block");
      throw error(sentence("exec::cuda: out of memory: {} in one piece are needed",
                           cuda_check::bytes(bytes)));
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
