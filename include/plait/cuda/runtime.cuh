// CUDA's runtime: kernel launches, library calls, copies, captured graphs.
#pragma once

#include <plait/core/prologue.hpp>

#if !defined(__CUDACC__)
#error "plait: cuda/exec.cuh has kernels in it: compile this file with nvcc, as .cu"
#elif !defined(__CUDACC_RELAXED_CONSTEXPR__)
#error "plait: kernels call constexpr functions: compile with nvcc --expt-relaxed-constexpr"
#endif

#include <plait/core/error.hpp>
#include <plait/core/half.hpp>
#include <plait/core/sentence.hpp>
#include <plait/cuda/block.cuh>
#include <plait/cuda/cublaslt.cuh>
#include <plait/cuda/cudnn_attention.cuh>
#include <plait/cuda/error.cuh>
#include <plait/cuda/memory.cuh>
#include <plait/gpu/attention_product.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/matrix_product.hpp>

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
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace exec {

namespace detail {

/// Entry point of a kernel. With `overlap` (programmatic dependent launch, from sm_90 on) a grid
/// may be resident while the previous one ends, and waits here for that end. It admits its
/// successor at once, at no cost: the successor's blocks become resident only when all of this
/// grid's have.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, kernels::min_blocks_of<Kernel>())
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

/// A kernel that does nothing: its attributes tell whether the program has code for the device.
struct empty_kernel {
  struct args {};
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const&, shared<Block>&, args const&) {}
};

/// A kernel that occupies the device for a given time.
struct busy_wait {
  struct args {
    std::uint64_t nanoseconds;
  };
  static constexpr int threads = 32;
  template <class>
  struct shared {};
  template <class Block>
  PLAIT_HD static void run(Block const&, shared<Block>&, [[maybe_unused]] args const& a) {
#if defined(__CUDA_ARCH__)
    std::uint64_t start;
    std::uint64_t now;
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
/// An owned handle of CUDA.
template <class Handle, auto Destroy>
using cuda_owned = std::unique_ptr<std::remove_pointer_t<Handle>, cuda_destroy<Handle, Destroy>>;

}  // namespace detail

/// Runtime of exec::device (exec/device.hpp) on the calling thread's current NVIDIA device, of
/// compute capability 8.0 or newer. One caller at a time, with the same current device.
///
/// State: a stream of its own, in order with CUDA's legacy default stream; a second one for
///   captures
/// Errors:
///   - `exec::cuda: there is no CUDA device: this machine has no NVIDIA driver`: at construction,
///     as the next ones
///   - `exec::cuda: there is no CUDA device: …`: with CUDA's own words
/// Cost: in the steady state nothing is allocated, and only copy_to_host and synchronize wait for
///   the device
/// Test: tests/unit/cuda/runtime_test.cu, tests/unit/cuda/launch_test.cu
class cuda_runtime {
 public:
  using memory = cuda_memory;
  using captured = detail::cuda_owned<cudaGraphExec_t, cudaGraphExecDestroy>;

  cuda_runtime() : state_(std::make_unique<state>()) {}

  int multiprocessor_count() const { return state_->multiprocessor_count; }
  /// The stream of the kernels.
  cudaStream_t stream() const { return state_->stream.get(); }
  /// Whether a kernel may become resident before the previous one has ended, from sm_90 on: a step
  /// of many small kernels then takes less time. Off by default.
  void overlap(bool enabled) { state_->overlap = enabled && state_->capability >= 90; }

  void synchronize() {
    cuda_status::require_usable();
    cuda_status::check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  }

  /// The time of run()'s kernels and copies, by events. A busy kernel first occupies the device for
  /// about as long as run() takes to launch: its kernels then wait in the queue, as they wait for
  /// the previous layer in a model, and the host's rate of launches is not measured.
  template <class Run>
  double seconds(Run const& run) {
    using clock = std::chrono::steady_clock;
    cuda_status::require_usable();
    state& s = *state_;
    for (owned_event* e : {&s.timer_begin, &s.timer_end})
      if (*e == nullptr) {
        cudaEvent_t made = nullptr;
        cuda_status::check(cudaEventCreateWithFlags(&made, cudaEventDefault), "cudaEventCreate");
        e->reset(made);
      }
    // Twice the time of the last call's launches.
    double const wait = std::clamp(2 * s.launch_seconds, 20e-6, 10e-3);
    launch<detail::busy_wait>({1, 1, 1}, {static_cast<std::uint64_t>(1e9 * wait)});
    cuda_status::check(cudaEventRecord(s.timer_begin.get(), stream()), "cudaEventRecord");
    auto const start = clock::now();
    run();
    s.launch_seconds = std::chrono::duration<double>(clock::now() - start).count();
    cuda_status::check(cudaEventRecord(s.timer_end.get(), stream()), "cudaEventRecord");
    cuda_status::check(cudaEventSynchronize(s.timer_end.get()), "cudaEventSynchronize");
    float milliseconds = 0;
    cuda_status::check(cudaEventElapsedTime(&milliseconds, s.timer_begin.get(), s.timer_end.get()),
                       "cudaEventElapsedTime");
    return 1e-3 * double{milliseconds};
  }
  std::int64_t memory_bytes() const {
    cuda_status::require_usable();
    std::size_t free = 0;
    std::size_t total = 0;
    cuda_status::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return static_cast<std::int64_t>(total);
  }
  std::int64_t last_level_cache_bytes() const {
    cuda_status::require_usable();
    int device = 0;
    int bytes = 0;
    cuda_status::check(cudaGetDevice(&device), "cudaGetDevice");
    cuda_status::check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device),
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
    cuda_status::require_usable();
    if (grid.x > INT_MAX || grid.y > 65535 || grid.z > 65535)
      throw error(sentence(
          "exec::cuda: a launch of {} x {} x {} blocks; a device takes at most 2147483647 x "
          "65535 x 65535: use fewer tokens per call",
          grid.x, grid.y, grid.z));
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
    void* pointers[] = {const_cast<void*>(static_cast<void const*>(std::addressof(args)))};
    cuda_status::launching(name<Kernel>());
    cudaError_t code = cudaLaunchKernelExC(
        &config, reinterpret_cast<void const*>(&detail::cuda_entry<Kernel>), pointers);
    if (code == cudaSuccess) code = cudaGetLastError();
    if (code != cudaSuccess) cuda_status::check(code, name<Kernel>());
  }

  template <class X, class Y>
  void gemm(matrix_product<X, Y> const& product) {
    cuda_status::require_usable();
    state_->gemm.run(product, state_->current);
  }

#if defined(PLAIT_CUDNN)
  /// Attention of the first tokens of a prompt by cuDNN: their number (cudnn_attention).
  std::int64_t attention(attention_product<bf16_t> const& product) {
    cuda_status::require_usable();
    return state_->cudnn && state_->current == stream() ? state_->attention.run(product) : 0;
  }
  /// Whether cuDNN is used. On by default.
  void cudnn(bool enabled) { state_->cudnn = enabled; }
  /// Why cuDNN has refused the last prompt; empty if it has not.
  std::string const& cudnn_refusal() const { return state_->attention.refusal(); }
#endif

  /// Copies through one of a few pinned buffers: waits only where the device is that many copies
  /// behind.
  void copy_to_device(void* to, void const* from, std::int64_t bytes) {
    cuda_status::require_usable();
    if (bytes == 0) return;
    pinned_buffer& p = state_->pinned[state_->next_pinned];
    state_->next_pinned = (state_->next_pinned + 1) % state_->pinned.size();
    if (p.copied == nullptr) {
      cudaEvent_t event = nullptr;
      cuda_status::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
                         "cudaEventCreate");
      p.copied.reset(event);
    }
    cuda_status::check(cudaEventSynchronize(p.copied.get()), "cudaEventSynchronize");
    if (bytes > p.bytes) {
      p.data.reset();
      p.bytes = 0;
      void* data = nullptr;
      cuda_status::check(cudaMallocHost(&data, static_cast<std::size_t>(2 * bytes)),
                         "cudaMallocHost");
      p.data.reset(data);
      p.bytes = 2 * bytes;
    }
    std::memcpy(p.data.get(), from, static_cast<std::size_t>(bytes));
    cuda_status::check(cudaMemcpyAsync(to, p.data.get(), static_cast<std::size_t>(bytes),
                                       cudaMemcpyHostToDevice, stream()),
                       "cudaMemcpyAsync");
    cuda_status::check(cudaEventRecord(p.copied.get(), stream()), "cudaEventRecord");
  }
  void copy_to_host(void* to, void const* from, std::int64_t bytes) {
    cuda_status::require_usable();
    if (state_->current != stream())
      throw error(
          "exec::cuda: copy_to_host during a capture; a captured step copies nothing to the host");
    if (bytes == 0) return;
    cuda_status::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                       cudaMemcpyDeviceToHost, stream()),
                       "cudaMemcpyAsync");
    cuda_status::check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  }

  /// A CUDA graph of the launches of run(), captured on a stream that is not in order with the
  /// default stream: other threads may use that one meanwhile.
  template <class Run>
  captured capture(Run const& run) {
    using graph_owned = detail::cuda_owned<cudaGraph_t, cudaGraphDestroy>;
    cuda_status::require_usable();
    struct capture_scope {
      state& s;
      explicit capture_scope(state& of) : s(of) {
        cuda_status::check(
            cudaStreamBeginCapture(s.capture_stream.get(), cudaStreamCaptureModeThreadLocal),
            "cudaStreamBeginCapture");
        s.current = s.capture_stream.get();
      }
      std::pair<cudaError_t, cudaGraph_t> end() {
        cudaGraph_t graph = nullptr;
        s.current = s.stream.get();
        cudaError_t const code = cudaStreamEndCapture(s.capture_stream.get(), &graph);
        return {code, graph};
      }
      ~capture_scope() {
        if (s.current != s.stream.get()) {  // run has thrown
          graph_owned const unfinished(end().second);
          (void)cudaGetLastError();
        }
      }
    } scope(*state_);
    run();
    auto const [code, made] = scope.end();
    graph_owned const graph(made);
    cuda_status::check(code, "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    cuda_status::check(cudaGraphInstantiate(&executable, graph.get(), 0), "cudaGraphInstantiate");
    return captured(executable);
  }
  void replay(captured const& graph) {
    cuda_status::require_usable();
    cuda_status::check(cudaGraphLaunch(graph.get(), stream()), "cudaGraphLaunch");
  }

 private:
  using owned_event = detail::cuda_owned<cudaEvent_t, cudaEventDestroy>;
  struct pinned_buffer {
    owned_event copied;
    detail::cuda_owned<void*, cudaFreeHost> data;
    std::int64_t bytes = 0;
  };
  /// The device's properties; throws unless it can run this program's kernels. A base, so that it
  /// is checked before any member is created.
  struct checked_device {
    int capability = 0;
    int multiprocessor_count = 0;
    checked_device() {
      cuda_status::require_usable();
      int count = 0;
      int device = 0;
      int driver = 0;
      int major = 0;
      int minor = 0;
      cudaError_t const code = cudaGetDeviceCount(&count);
      if (code != cudaSuccess) (void)cudaGetLastError();
      if (code == cudaErrorInsufficientDriver ||
          (code != cudaSuccess && code != cudaErrorNoDevice)) {
        bool const has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
        if (code == cudaErrorInsufficientDriver && !has_driver)
          throw error("exec::cuda: there is no CUDA device: this machine has no NVIDIA driver");
        if (code == cudaErrorInsufficientDriver)
          throw error(
              sentence("exec::cuda: the NVIDIA driver is too old: it is made for CUDA {}, this "
                       "program for CUDA {}",
                       version(driver), version(CUDART_VERSION)));
        throw error(sentence("exec::cuda: there is no CUDA device: {} ({})",
                             cudaGetErrorString(code), cudaGetErrorName(code)));
      }
      if (count == 0) throw error("exec::cuda: there is no CUDA device");
      cuda_status::check(cudaGetDevice(&device), "cudaGetDevice");
      cuda_status::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
                         "cudaDeviceGetAttribute");
      cuda_status::check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
                         "cudaDeviceGetAttribute");
      cuda_status::check(
          cudaDeviceGetAttribute(&multiprocessor_count, cudaDevAttrMultiProcessorCount, device),
          "cudaDeviceGetAttribute");
      capability = 10 * major + minor;
      std::string const has =
          sentence("exec::cuda: device {} has compute capability {}.{}", device, major, minor);
      if (capability < 80) throw error(has + "; 8.0 or newer is needed");
      cudaFuncAttributes attributes;
      if (cudaFuncGetAttributes(&attributes, reinterpret_cast<void const*>(
                                                 &detail::cuda_entry<detail::empty_kernel>)) !=
          cudaSuccess) {
        (void)cudaGetLastError();
        throw error(
            sentence("{}, and this program has no kernels for it: compile it with -arch=sm_{}", has,
                     capability));
      }
    }
    static std::string version(int number) {
      return sentence("{}.{}", number / 1000, number % 1000 / 10);
    }
  };
  using owned_stream = detail::cuda_owned<cudaStream_t, cudaStreamDestroy>;
  static owned_stream new_stream(unsigned flags) {
    cudaStream_t s = nullptr;
    cuda_status::check(cudaStreamCreateWithFlags(&s, flags), "cudaStreamCreate");
    return owned_stream(s);
  }
  struct state : checked_device {
    owned_stream stream = new_stream(cudaStreamDefault);
    owned_stream capture_stream = new_stream(cudaStreamNonBlocking);
    cudaStream_t current = stream.get();  ///< capture_stream during a capture
    bool overlap = false;
    cublaslt_gemm gemm;
#if defined(PLAIT_CUDNN)
    cudnn_attention attention{capability, stream.get()};
    bool cudnn = true;
#endif
    std::array<pinned_buffer, 4> pinned;
    std::size_t next_pinned = 0;
    owned_event timer_begin;
    owned_event timer_end;
    double launch_seconds = 0;  ///< of the last call of seconds()

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

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
