// Base of the execution policies that run on the host: workspace and threads.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/arena.hpp>
#include <plait/core/memory.hpp>
#include <plait/core/view.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#endif

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Base of reference, cpu and any other execution policy that runs on the host. One caller at a
/// time.
///
/// ```cpp body
/// plait::exec::cpu<> two_threads(2);
/// std::vector<double> squares(100);
/// two_threads.parallel(100, [&](std::int64_t i, int) {
///   squares[static_cast<std::size_t>(i)] = static_cast<double>(i * i);
/// });
/// ```
/// Equation: parallel calls body(item, thread) once per item of [0, items), in runs of `grain`
///   consecutive items, and does nothing while the workspace measures
/// Shapes: `thread` is in [0, threads()); a number of threads below 1 becomes 1
/// Errors: those of core/arena.hpp, from `matrix`
/// Cost: a run is one atomic addition; nothing is allocated
/// Test: tests/unit/core/host_test.cpp
class host {
 public:
  using memory = host_memory;
  arena workspace;

  int threads() const { return threads_; }

  /// Runs body(item, thread) over the threads. Which thread runs which item is unspecified, so
  /// `body` writes only what belongs to its item or to its thread. It must not throw.
  template <class Body>
  void parallel(std::int64_t items, [[maybe_unused]] std::int64_t grain, Body const& body) {
    if (workspace.measuring()) return;
#if defined(_OPENMP)
    if (threads_ > 1 && items > grain) {
      std::atomic<std::int64_t> next{0};  // not schedule(dynamic): LLVM's runtime allocates in it
#pragma omp parallel num_threads(threads_)
      for (std::int64_t first; (first = next.fetch_add(grain, std::memory_order_relaxed)) < items;)
        for (std::int64_t i = first; i < std::min(items, first + grain); ++i)
          body(i, omp_get_thread_num());
      return;
    }
#endif
    for (std::int64_t i = 0; i < items; ++i) body(i, 0);
  }
  template <class Body>
  void parallel(std::int64_t items, Body const& body) {
    parallel(items, 1, body);
  }

  /// Starts the threads, so that the first call of forward does not.
  void start() {
    parallel(threads_, [](std::int64_t, int) {});
  }
  /// The inputs of a call in memory that kernels can read: on the host, unchanged.
  template <class Inputs>
  Inputs const& stage(Inputs const& inputs) {
    return inputs;
  }
  /// Runs the kernels of a call. A device may capture them and replay them for an equal `Call`
  /// (exec/device.hpp).
  template <class Call, class Run>
  void execute(Call const&, Run const& run) {
    run();
  }

  /// A grain with about eight runs per thread: enough runs to balance the load, each long enough to
  /// stream memory.
  std::int64_t grain(std::int64_t items) const {
    return std::max<std::int64_t>(1, items / (8 * threads_));
  }

  /// A matrix in the workspace, uninitialized.
  template <class T>
  matrix_view<T> matrix(std::int64_t rows, std::int64_t cols) {
    return {workspace.take<T>(rows * cols), rows, cols};
  }

 protected:
  explicit host(int threads) : threads_(std::max(1, threads)) {
#if !defined(_OPENMP)
    threads_ = 1;
#endif
  }

  static int machine_threads() {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
  }

 private:
  int threads_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
