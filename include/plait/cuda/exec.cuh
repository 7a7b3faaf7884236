// CUDA's execution policy. NVIDIA devices of compute capability 8.0 or newer: CUDA behind
// `exec::device`.
#pragma once

#include <plait/core/prologue.hpp>

#if !defined(__CUDACC__)
#error "plait: cuda/exec.cuh has kernels in it: compile this file with nvcc, as .cu"
#elif !defined(__CUDACC_RELAXED_CONSTEXPR__)
#error "plait: kernels call constexpr functions: compile with nvcc --expt-relaxed-constexpr"
#endif

#include <plait/cuda/block.cuh>
#include <plait/cuda/cublaslt.cuh>
#include <plait/cuda/cudnn_attention.cuh>
#include <plait/cuda/error.cuh>
#include <plait/cuda/memory.cuh>
#include <plait/exec/device.hpp>

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace exec {

namespace detail {

/// Where the threads of a kernel begin. With `overlap` a grid may be put on the device while the
/// one before it ends, and waits here until that has (programmatic dependent launch, from sm_90
/// on); it lets its own successor come at once, which takes nothing from it: that one's blocks find
/// a place only when all of this grid have theirs.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, kernels::blocks_of<Kernel>())
    cuda_entry(__grid_constant__ typename Kernel::args const args) {
  using block = cuda_block<Kernel::threads>;
  using shared = typename Kernel::template shared<block>;
  __shared__ shared space;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  Kernel::run(block{}, space, args);
}

/// Does nothing: it is there or not for the device's architecture.
struct nothing {
  struct args {};
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const&, shared<Block>&, args const&) {}
};

/// Keeps the device busy for a while.
struct pause {
  struct args {
    std::uint64_t nanoseconds;
  };
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const&, shared<Block>&, [[maybe_unused]] args const& a) {
#if defined(__CUDA_ARCH__)
    std::uint64_t start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
      asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - start < a.nanoseconds);
#endif
  }
};

template <class Handle, auto Destroy>
struct cuda_destroy {
  void operator()(Handle handle) const { (void)Destroy(handle); }
};
/// A handle of CUDA's, destroyed at the end.
template <class Handle, auto Destroy>
using cuda_owned = std::unique_ptr<std::remove_pointer_t<Handle>, cuda_destroy<Handle, Destroy>>;

}  // namespace detail

/// Runs kernels on an NVIDIA device (exec/device.hpp), the calling thread's current one: compute
/// capability 8.0 or newer. One caller at a time, with the same current device. plait::error where
/// there is no such device, before anything else happens.
///
/// There is a stream of its own, in order with CUDA's legacy default stream. In the steady state
/// nothing is allocated, and nothing waits for the device but fetch and synchronize.
class cuda_runtime {
 public:
  using memory = cuda_memory;
  using kept = detail::cuda_owned<cudaGraphExec_t, cudaGraphExecDestroy>;

  cuda_runtime() : state_(std::make_unique<state>()) {}

  int multiprocessor_count() const { return state_->multiprocessor_count; }
  /// Where the kernels run.
  cudaStream_t stream() const { return state_->stream.get(); }
  /// Lets every kernel be put on the device while the one before it ends: from sm_90 on a step of
  /// many small kernels takes less time.
  void overlap(bool wanted) { state_->overlap = wanted && state_->capability >= 90; }

  void synchronize() {
    cuda_check::require_usable();
    cuda_check::check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  }

  /// By events, with the device kept busy until `run` has been called, as far as that can be known:
  /// what it launches stands in a queue then, as behind the work of a layer before, and how fast
  /// this machine launches is not what is measured. Copies of cuda_memory count as well.
  template <class Run>
  double seconds(Run const& run) {
    using clock = std::chrono::steady_clock;
    cuda_check::require_usable();
    state& s = *state_;
    for (owned_event* e : {&s.begin, &s.end})
      if (*e == nullptr) {
        cudaEvent_t made = nullptr;
        cuda_check::check(cudaEventCreateWithFlags(&made, cudaEventDefault), "cudaEventCreate");
        e->reset(made);
      }
    double const wait = std::clamp(2 * s.launching_seconds, 20e-6,
                                   10e-3);  // of what the call before took to launch
    launch<detail::pause>({1, 1, 1}, {static_cast<std::uint64_t>(1e9 * wait)});
    cuda_check::check(cudaEventRecord(s.begin.get(), stream()), "cudaEventRecord");
    auto const start = clock::now();
    run();
    s.launching_seconds = std::chrono::duration<double>(clock::now() - start).count();
    cuda_check::check(cudaEventRecord(s.end.get(), stream()), "cudaEventRecord");
    cuda_check::check(cudaEventSynchronize(s.end.get()), "cudaEventSynchronize");
    float milliseconds = 0;
    cuda_check::check(cudaEventElapsedTime(&milliseconds, s.begin.get(), s.end.get()),
                      "cudaEventElapsedTime");
    return 1e-3 * double{milliseconds};
  }
  std::int64_t memory_bytes() const {
    cuda_check::require_usable();
    std::size_t free = 0, total = 0;
    cuda_check::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return static_cast<std::int64_t>(total);
  }
  std::int64_t last_level_cache_bytes() const {
    cuda_check::require_usable();
    int device = 0, bytes = 0;
    cuda_check::check(cudaGetDevice(&device), "cudaGetDevice");
    cuda_check::check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device),
                      "cudaDeviceGetAttribute");
    return bytes;
  }
  /// More than caches hold, and enough for products that reach the peak.
  std::int64_t probe_bytes() const { return std::min(std::int64_t{1} << 30, memory_bytes() / 16); }

  template <class Kernel>
  void launch(launch_grid grid, typename Kernel::args const& args) {
    using block = cuda_block<Kernel::threads>;
    static_assert(kernels::block<block>);
    static_assert(sizeof(typename Kernel::template shared<block>) <= 48 * 1024,
                  "plait: a kernel has at most 48 KiB of shared memory");
    static_assert(sizeof(typename Kernel::args) <= 4096,
                  "plait: a kernel's arguments have at most 4096 bytes");
    cuda_check::require_usable();
    if (grid.x > INT_MAX || grid.y > 65535 || grid.z > 65535)
      throw error(
          "exec::cuda: a launch of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) +
          " x " + std::to_string(grid.z) +
          " blocks; a device takes at most 2147483647 x 65535 x 65535: use fewer tokens a call");
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                      static_cast<unsigned>(grid.z)};
    config.blockDim = {static_cast<unsigned>(Kernel::threads), 1, 1};
    config.stream = state_->current;
    if (state_->overlap) {
      config.attrs = &early;
      config.numAttrs = 1;
    }
    void* given[] = {const_cast<void*>(static_cast<void const*>(std::addressof(args)))};
    cuda_check::launching(name<Kernel>());
    cudaError_t code = cudaLaunchKernelExC(
        &config, reinterpret_cast<void const*>(&detail::cuda_entry<Kernel>), given);
    if (code == cudaSuccess) code = cudaGetLastError();
    if (code != cudaSuccess) cuda_check::check(code, name<Kernel>());
  }

  template <class X, class Y>
  void gemm(matrix_product<X, Y> const& product) {
    cuda_check::require_usable();
    state_->gemm.run(product, state_->current);
  }

#if defined(PLAIT_CUDNN)
  /// The first tokens of a prompt, by cuDNN: how many it has done (cuda_attention).
  std::int64_t attention(attention_product<bf16_t> const& product) {
    cuda_check::require_usable();
    return state_->cudnn && state_->current == stream() ? state_->attention.run(product) : 0;
  }
  /// Whether cuDNN is asked: it is, unless told otherwise.
  void cudnn(bool wanted) { state_->cudnn = wanted; }
  /// Why cuDNN has refused the last prompt it was asked for; empty if it has not.
  std::string const& cudnn_refusal() const { return state_->attention.refusal(); }
#endif

  /// By way of pinned memory, of which there are a few pieces: waits only where the device is that
  /// many calls behind.
  void copy_to_device(void* to, void const* from, std::int64_t bytes) {
    cuda_check::require_usable();
    if (bytes == 0) return;
    piece& p = state_->pieces[state_->next_piece];
    state_->next_piece = (state_->next_piece + 1) % state_->pieces.size();
    if (p.sent == nullptr) {
      cudaEvent_t event = nullptr;
      cuda_check::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                        "cudaEventCreate");
      p.sent.reset(event);
    }
    cuda_check::check(cudaEventSynchronize(p.sent.get()), "cudaEventSynchronize");
    if (bytes > p.bytes) {
      p.data.reset();
      p.bytes = 0;
      void* data = nullptr;
      cuda_check::check(cudaMallocHost(&data, static_cast<std::size_t>(2 * bytes)),
                        "cudaMallocHost");
      p.data.reset(data);
      p.bytes = 2 * bytes;
    }
    std::memcpy(p.data.get(), from, static_cast<std::size_t>(bytes));
    cuda_check::check(cudaMemcpyAsync(to, p.data.get(), static_cast<std::size_t>(bytes),
                                      cudaMemcpyHostToDevice, stream()),
                      "cudaMemcpyAsync");
    cuda_check::check(cudaEventRecord(p.sent.get(), stream()), "cudaEventRecord");
  }
  void copy_to_host(void* to, void const* from, std::int64_t bytes) {
    cuda_check::require_usable();
    if (state_->current != stream())
      throw error("exec::cuda: a fetch while kernels are being kept");
    if (bytes == 0) return;
    cuda_check::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                      cudaMemcpyDeviceToHost, stream()),
                      "cudaMemcpyAsync");
    cuda_check::check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  }

  /// A CUDA graph of what `run` would launch. It is recorded on a stream apart, which the default
  /// stream knows nothing of: so that other threads may use that meanwhile.
  template <class Run>
  kept capture(Run const& run) {
    using graph_owned = detail::cuda_owned<cudaGraph_t, cudaGraphDestroy>;
    cuda_check::require_usable();
    struct recording {
      state& s;
      explicit recording(state& of) : s(of) {
        cuda_check::check(
            cudaStreamBeginCapture(s.recorder.get(), cudaStreamCaptureModeThreadLocal),
            "cudaStreamBeginCapture");
        s.current = s.recorder.get();
      }
      std::pair<cudaError_t, cudaGraph_t> end() {
        cudaGraph_t graph = nullptr;
        s.current = s.stream.get();
        cudaError_t const code = cudaStreamEndCapture(s.recorder.get(), &graph);
        return {code, graph};
      }
      ~recording() {
        if (s.current != s.stream.get()) {  // run has thrown
          graph_owned const unfinished(end().second);
          (void)cudaGetLastError();
        }
      }
    } record(*state_);
    run();
    auto const [code, recorded] = record.end();
    graph_owned const graph(recorded);
    cuda_check::check(code, "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    cuda_check::check(cudaGraphInstantiate(&executable, graph.get(), 0), "cudaGraphInstantiate");
    return kept(executable);
  }
  void replay(kept const& graph) {
    cuda_check::require_usable();
    cuda_check::check(cudaGraphLaunch(graph.get(), stream()), "cudaGraphLaunch");
  }

 private:
  using owned_event = detail::cuda_owned<cudaEvent_t, cudaEventDestroy>;
  struct piece {
    owned_event sent;
    detail::cuda_owned<void*, cudaFreeHost> data;
    std::int64_t bytes = 0;
  };
  /// Looks for the device first: nothing below it may be made without one.
  struct device_found {
    int capability = 0, multiprocessor_count = 0;
    device_found() {
      cuda_check::require_usable();
      int count = 0, device = 0, driver = 0, major = 0, minor = 0;
      cudaError_t const code = cudaGetDeviceCount(&count);
      if (code != cudaSuccess) (void)cudaGetLastError();
      if (code == cudaErrorInsufficientDriver ||
          (code != cudaSuccess && code != cudaErrorNoDevice)) {
        bool const has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
        if (code == cudaErrorInsufficientDriver && !has_driver)
          throw error("exec::cuda: there is no CUDA device: this machine has no NVIDIA driver");
        if (code == cudaErrorInsufficientDriver)
          throw error("exec::cuda: the NVIDIA driver is too old: it is made for CUDA " +
                      version(driver) + ", this program for CUDA " + version(CUDART_VERSION));
        throw error(std::string("exec::cuda: there is no CUDA device: ") +
                    cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")");
      }
      if (count == 0) throw error("exec::cuda: there is no CUDA device");
      cuda_check::check(cudaGetDevice(&device), "cudaGetDevice");
      cuda_check::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
                        "cudaDeviceGetAttribute");
      cuda_check::check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
                        "cudaDeviceGetAttribute");
      cuda_check::check(
          cudaDeviceGetAttribute(&multiprocessor_count, cudaDevAttrMultiProcessorCount, device),
          "cudaDeviceGetAttribute");
      capability = 10 * major + minor;
      std::string const has = "exec::cuda: device " + std::to_string(device) +
                              " has compute capability " + std::to_string(major) + "." +
                              std::to_string(minor);
      if (capability < 80) throw error(has + "; 8.0 or newer is needed");
      cudaFuncAttributes attributes;
      if (cudaFuncGetAttributes(
              &attributes, reinterpret_cast<void const*>(&detail::cuda_entry<detail::nothing>)) !=
          cudaSuccess) {
        (void)cudaGetLastError();
        throw error(has + ", and this program has no kernels for it: compile it with -arch=sm_" +
                    std::to_string(capability));
      }
    }
    static std::string version(int number) {
      return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
    }
  };
  using owned_stream = detail::cuda_owned<cudaStream_t, cudaStreamDestroy>;
  static owned_stream new_stream(unsigned flags) {
    cudaStream_t s = nullptr;
    cuda_check::check(cudaStreamCreateWithFlags(&s, flags), "cudaStreamCreate");
    return owned_stream(s);
  }
  struct state : device_found {
    owned_stream stream = new_stream(cudaStreamDefault),
                 recorder = new_stream(cudaStreamNonBlocking);
    cudaStream_t current = stream.get();  ///< the recorder while kernels are being kept
    bool overlap = false;
    cuda_gemm gemm;
#if defined(PLAIT_CUDNN)
    cuda_attention attention{capability, stream.get()};
    bool cudnn = true;
#endif
    std::array<piece, 4> pieces;
    std::size_t next_piece = 0;
    owned_event begin, end;  ///< of seconds
    double launching_seconds = 0;

    state() = default;
    state(state const&) = delete;
    ~state() { (void)cudaStreamSynchronize(stream.get()); }
  };

  template <class Kernel>
  static char const* name() {
    return __PRETTY_FUNCTION__;
  }

  std::unique_ptr<state> state_;
};

namespace detail {
/// nvcc 13.0 writes a type for the host compiler as it was first named, and the argument of an
/// alias template it cannot write ("'__T4' was not declared"). So the usual ones are named here,
/// type and alias, before anybody else can; others are device<mine, cuda_runtime>.
using cuda_named = void(device<f32, cuda_runtime>, device<bf16, cuda_runtime>,
                        device<int8, cuda_runtime>, device<experts_int8, cuda_runtime>);
}  // namespace detail

/// Kernels on an NVIDIA device, weights as P says: model<configs::jamba_v0_1, exec::cuda<int8>>.
///
/// nvcc 13.0 cannot write the names of some types for the host compiler: name another precision
/// than the four constants as `device<mine, cuda_runtime>`.
/// Equation: kernels run in order on a stream of its own, which is in order with CUDA's legacy
///   default stream. `overlap` lets a kernel be put on the device while the one before it ends
///   (programmatic dependent launch, from sm_90 on)
/// Errors:
///   - `exec::cuda: there is no CUDA device: this machine has no NVIDIA driver`: when it is made,
///     as those that follow
///   - `exec::cuda: there is no CUDA device: …`: with CUDA's own words
/// Cost: in the steady state nothing is allocated, and nothing waits for the device but `fetch` and
///   `synchronize`
/// Test: tests/unit/cuda/runtime_test.cu, tests/unit/cuda/launch_test.cu
template <precision P = bf16>
using cuda = device<P, cuda_runtime>;

namespace detail {
using cuda_aliased = void(cuda<f32>, cuda<bf16>, cuda<int8>, cuda<experts_int8>);
}  // namespace detail

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
