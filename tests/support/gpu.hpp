// The same names as support/fibers.hpp, for a real device: nvcc compiles the tests of kernels with it, so that what is tested on fibers is
// tested on the GPU. Orders of threads are the device's own, whatever the seed.
#pragma once

#include <plait/exec/cuda.cuh>

#include <cstdint>
#include <string>
#include <typeinfo>
#include <vector>

namespace test {

/// ThreadSanitizer sees nothing of a device (support/fibers.hpp).
namespace race {
inline constexpr bool watching = false;
}

/// Copies go either way.
struct fiber_memory : plait::exec::cuda_memory {
  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    if (n == 0) return;
    plait::exec::cuda_check::that(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDefault, cudaStreamLegacy), "copy");
    plait::exec::cuda_check::that(cudaStreamSynchronize(cudaStreamLegacy), "copy");
  }
};

/// CUDA's runtime, which counts what fibers count, and says how many multiprocessors the test wants there to be.
class fiber_runtime : public plait::exec::cuda_runtime {
 public:
  using memory = fiber_memory;

  std::uint64_t seed = 1;
  int multiprocessors = 3;
  std::vector<std::string> launches;
  int fetches = 0;

  int processors() const { return multiprocessors; }
  template <class Kernel>
  void launch(plait::launch_grid grid, typename Kernel::args const& args) {
    if (!recording_) launches.push_back(typeid(Kernel).name());
    plait::exec::cuda_runtime::launch<Kernel>(grid, args);
  }
  template <class X, class Y>
  void gemm(plait::exec::matrix_product<X, Y> const& product) {
    if (!recording_) launches.push_back("gemm");
    plait::exec::cuda_runtime::gemm(product);
  }
  void fetch(void* to, void const* from, std::int64_t bytes) {
    ++fetches;
    plait::exec::cuda_runtime::fetch(to, from, bytes);
  }
  template <class Run>
  kept capture(Run const& run) {
    recording_ = true;
    kept k = plait::exec::cuda_runtime::capture(run);
    recording_ = false;
    return k;
  }

 private:
  bool recording_ = false;
};

namespace detail {
/// Before and behind the alias template: see exec/cuda.cuh.
using named = void(plait::exec::device<plait::f32, fiber_runtime>, plait::exec::device<plait::bf16, fiber_runtime>,
                   plait::exec::device<plait::int8, fiber_runtime>, plait::exec::device<plait::experts_int8, fiber_runtime>);
}  // namespace detail
template <plait::precision P = plait::f32>
using fiber_device = plait::exec::device<P, fiber_runtime>;
namespace detail {
using named_by_alias = void(fiber_device<plait::f32>, fiber_device<plait::bf16>, fiber_device<plait::int8>, fiber_device<plait::experts_int8>);
}  // namespace detail

}  // namespace test
