// The names of support/device.hpp for a real device: nvcc compiles the tests of kernels with it, so
// that the same tests run on the emulator and on the GPU. The seed does not change the device's
// order of threads.
#pragma once

#include <plait/cuda/exec.cuh>

#include <cstdint>
#include <string>
#include <typeinfo>
#include <vector>

namespace test {

inline constexpr bool finds_races = false;

/// Copies in either direction.
struct device_memory : plait::exec::cuda_memory {
  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    if (n == 0) return;
    plait::exec::cuda_status::check(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDefault,
                        cudaStreamLegacy),
        "copy");
    plait::exec::cuda_status::check(cudaStreamSynchronize(cudaStreamLegacy), "copy");
  }
};

/// CUDA's runtime with the public members of emulator::runtime: its counters, and a number of
/// multiprocessors that tests set.
class device_runtime : public plait::exec::cuda_runtime {
 public:
  using memory = device_memory;

  std::uint64_t seed = 1;
  int multiprocessors = 3;
  std::vector<std::string> launches;
  int copies_to_host = 0;

  int multiprocessor_count() const { return multiprocessors; }
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
  void copy_to_host(void* to, void const* from, std::int64_t bytes) {
    ++copies_to_host;
    plait::exec::cuda_runtime::copy_to_host(to, from, bytes);
  }
  template <class Run>
  captured capture(Run const& run) {
    recording_ = true;
    captured graph = plait::exec::cuda_runtime::capture(run);
    recording_ = false;
    return graph;
  }

 private:
  bool recording_ = false;
};

namespace detail {
/// Named before and after the alias template: cuda/exec.cuh has the reason.
using named = void(plait::exec::device<plait::f32, device_runtime>,
                   plait::exec::device<plait::bf16, device_runtime>,
                   plait::exec::device<plait::int8, device_runtime>,
                   plait::exec::device<plait::experts_int8, device_runtime>);
}  // namespace detail
template <plait::precision P = plait::f32>
using device = plait::exec::device<P, device_runtime>;
namespace detail {
using named_by_alias = void(device<plait::f32>, device<plait::bf16>, device<plait::int8>,
                            device<plait::experts_int8>);
}  // namespace detail

}  // namespace test
