// The progress and the first error of a load on several threads.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The progress of a load, shared by its threads, and the first exception of any of them.
/// Equation: calls to the callback are exclusive, `done` never falls, and no call follows one that
///   has thrown
/// Test: tests/unit/io/parallel_packer_test.cpp
class load_progress {
 public:
  using callback = std::function<void(std::int64_t done, std::int64_t total)>;

  /// Calls call(0, total); `call` may be empty.
  load_progress(callback call, std::int64_t total) : call_(std::move(call)), total_(total) {
    add(0);
  }

  /// Adds bytes to `done` and calls call(done, total).
  void add(std::int64_t bytes) {
    std::lock_guard const lock(mutex_);
    done_ += bytes;
    if (!call_ || thrown_) return;
    thrown_ = true;
    call_(done_, total_);
    thrown_ = false;
  }

  /// Runs `work` and stores its exception; after the first exception, work is skipped.
  template <class Work>
  void guard(Work&& work) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      std::forward<Work>(work)();
    } catch (...) {
      if (!failed_.exchange(true)) first_exception_ = std::current_exception();
    }
  }

  /// Throws the stored exception, if any; called when all threads have finished.
  void rethrow() const {
    if (first_exception_) std::rethrow_exception(first_exception_);
  }

 private:
  callback call_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool thrown_ = false;
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  std::exception_ptr first_exception_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
