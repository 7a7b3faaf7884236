// The emulator's runtime: launches, products, copies, captured graphs.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/emulator/block.hpp>
#include <plait/emulator/fibers.hpp>
#include <plait/emulator/memory.hpp>
#include <plait/emulator/sanitizer.hpp>
#include <plait/exec/device.hpp>
#include <plait/gpu/block.hpp>

#include <cxxabi.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace emulator {

/// Runtime of exec::device (exec/device.hpp) on the calling thread: a launch runs its blocks one
/// after the other and returns when all have ended. One caller at a time.
///
/// A kernel gets only what a device guarantees: blocks begin anywhere in the grid, threads run in
/// an order that `seed` shuffles between barriers, shared memory initially holds NaN, asynchronous
/// copies arrive when they are waited for. ThreadSanitizer reports each data race of a launch, for
/// any order of the threads.
///
/// Errors: plait::error where a barrier is not reached by all threads, a shuffle or copy_async is
///   misused, a grid is beyond a device's limits, or memory is copied to the host during a capture
/// Test: tests/unit/emulator/block_test.cpp, tests/unit/emulator/race_test.cpp,
///   tests/unit/exec/device_test.cpp
class runtime {
 public:
  using memory = emulator::memory;
  /// A captured graph: its launches, on the runtime that replays it.
  using captured = std::vector<std::function<void(runtime&)>>;

  /// Seed of the order of threads and blocks; each block changes it.
  std::uint64_t seed = 1;
  /// Number of multiprocessors: few, so that small shapes reach the paths in which kernels split
  /// work. Another number may choose other grids.
  int multiprocessors = 3;
  /// Names of the kernels launched, in order, "gemm" for a product by the library. A replay adds
  /// none. The list grows until it is cleared.
  std::vector<std::string> launches;
  /// Number of copies to the host: a decode step has none.
  int copies_to_host = 0;

  int multiprocessor_count() const { return multiprocessors; }
  /// The host's time, which says nothing about a device.
  template <class Run>
  double seconds(Run const& run) {
    auto const start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::int64_t memory_bytes() const { return std::int64_t{1} << 28; }
  std::int64_t last_level_cache_bytes() const { return std::int64_t{1} << 14; }
  std::int64_t probe_bytes() const { return std::int64_t{1} << 14; }
  void synchronize() {}
  void copy_to_device(void* to, void const* from, std::int64_t bytes) {
    memory::copy(static_cast<std::byte const*>(from), bytes, static_cast<std::byte*>(to));
  }
  void copy_to_host(void* to, void const* from, std::int64_t bytes) {
    if (capturing_ != nullptr)
      throw error(
          sentence("exec::emulated: copy_to_host of {} bytes during a capture; a captured "
                   "step copies nothing to the host",
                   bytes));
    ++copies_to_host;
    memory::copy(static_cast<std::byte const*>(from), bytes, static_cast<std::byte*>(to));
  }

  template <class Kernel>
  void launch(launch_grid const& grid, typename Kernel::args const& args) {
    static_assert(Kernel::threads > 0 && Kernel::threads % 32 == 0 && Kernel::threads <= 1024,
                  "plait: a block is whole warps of 32 threads, at most 1024 threads");
    static_assert(sizeof(typename Kernel::template shared<block<Kernel::threads>>) <= 48 * 1024,
                  "plait: a kernel has at most 48 KiB of shared memory");
    static_assert(sizeof(typename Kernel::args) <= 4096,
                  "plait: a kernel's arguments have at most 4096 bytes");
    if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
      throw error(sentence(
          "exec::emulated: {}: a launch of {} x {} x {} blocks, expected at most 2147483647 "
          "x 65535 x 65535",
          name<Kernel>(), grid.x, grid.y, grid.z));
    enqueue(name<Kernel>(), [grid, args](runtime& r) { r.run<Kernel>(grid, args); });
  }

  /// Sums in double, in the order of k.
  template <class X, class Y>
  void gemm(exec::matrix_product<X, Y> const& p) {
    enqueue("gemm", [p](runtime&) {
      memory::access const allowed;
      for (std::int64_t t = 0; t < p.rows; ++t)
        for (std::int64_t n = 0; n < p.n; ++n) {
          X const* const x = p.x + t * p.x_stride;
          X const* const w = p.w + n * p.w_stride;
          double sum = 0;
          for (std::int64_t k = 0; k < p.k; ++k)
            sum += double{static_cast<float>(x[k])} * double{static_cast<float>(w[k])};
          p.y[t * p.y_stride + n] = Y(static_cast<float>(sum));
        }
    });
  }

  template <class Run>
  captured capture(Run const& run) {
    captured graph;
    struct guard {
      runtime& r;
      ~guard() { r.capturing_ = nullptr; }
    } const end_of_capture{*this};
    capturing_ = &graph;
    run();
    return graph;
  }
  void replay(captured const& graph) {
    for (auto const& launch : graph) launch(*this);
  }

 private:
  template <class Kernel>
  static std::string const& name() {
    static std::string const readable = [] {
      char const* const mangled = typeid(Kernel).name();
      int status = 0;
      std::unique_ptr<char, void (*)(void*)> const text(
          abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
      return std::string(status == 0 ? text.get() : mangled);
    }();
    return readable;
  }

  template <class Launch>
  void enqueue(std::string const& kernel, Launch const& launch) {
    if (capturing_ != nullptr) {
      capturing_->push_back(launch);
      return;
    }
    launches.push_back(kernel);
    launch(*this);
  }

  /// Runs all blocks of a launch.
  template <class Kernel>
  void run(launch_grid const& grid, typename Kernel::args const& args) {
    using block_type = block<Kernel::threads>;
    using shared = typename Kernel::template shared<block_type>;
    memory::access const allowed;
    tsan::ignore_accesses const scheduling;
    fibers& threads = fibers_of(Kernel::threads);
    struct guard {
      fibers& f;
      ~guard() { f.join(); }
    } const end_of_launch{threads};
    // One shared memory; under ThreadSanitizer one per block, since blocks share none.
    struct alignas(shared) space {
      std::byte bytes[sizeof(shared)];
    };
    std::vector<std::unique_ptr<space>> spaces;
    std::int64_t const blocks = grid.x * grid.y * grid.z;
    auto const first = static_cast<std::int64_t>(seed % static_cast<std::uint64_t>(blocks));
    for (std::int64_t i = 0; i < blocks; ++i) {
      std::int64_t const b = (first + blocks - i) % blocks;
      launch_grid const at{b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
      if (spaces.empty() || thread_sanitizer) spaces.push_back(std::make_unique<space>());
      std::byte* const bytes = spaces.back()->bytes;
      std::memset(bytes, 0xff, sizeof(shared));
      auto const body = [&](int t) {
        block_type const block_of_thread(threads, t, at, grid);
        Kernel::run(block_of_thread, *reinterpret_cast<shared*>(bytes), args);
      };
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      threads.run(body, seed, name<Kernel>().c_str(), at);
    }
  }
  /// The fibers of an earlier launch, unless an error has left them running.
  fibers& fibers_of(int threads) {
    auto& ready = fibers_[threads];
    if (!ready || ready->running()) ready = std::make_unique<fibers>(threads);
    return *ready;
  }

  captured* capturing_ = nullptr;
  std::map<int, std::unique_ptr<fibers>> fibers_;
};

}  // namespace emulator
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
