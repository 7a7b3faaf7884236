// Where a benchmark's execution policy computes: on this machine, or on a device with memory of its
// own (exec/device.hpp).
// Shapes: a matrix [rows, cols] in the memory of the execution policy, zero or made on this
//   machine; `fetch` has its values, or those of what an observer is shown, on this machine
// Errors: those of the memory
// Cost: on this machine nothing is moved; on a device `fetch` waits for all kernels
// Test: tests/unit/benchmark/device_register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/fill.hpp>
#include <plait/core/buffer.hpp>
#include <plait/core/memory.hpp>
#include <plait/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// An execution policy whose kernels run on a device.
template <class Exec>
concept on_device = requires {
  typename Exec::runtime_type;
};

/// A matrix [rows, cols] where an execution policy computes: made on this machine, and fetched to
/// be looked at.
template <class T, class Memory>
class placed {
 public:
  /// Zero.
  placed(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols), there_(rows * cols) {}
  explicit placed(matrix<T> const& values) : placed(values.read().rows(), values.read().cols()) {
    Memory::copy_in(values.read().data(), there_.size(), there_.data());
  }
  matrix_view<T> view() { return {there_.data(), rows_, cols_}; }
  matrix_view<T const> read() const { return {there_.data(), rows_, cols_}; }
  /// Waits for all kernels.
  matrix<T> fetch() const {
    matrix<T> here(rows_, cols_);
    Memory::copy_out(there_.data(), there_.size(), here.view().data());
    return here;
  }

 private:
  std::int64_t rows_, cols_;
  typename Memory::template buffer<T> there_;
};

/// On this machine nothing is moved.
template <class T>
class placed<T, host_memory> {
 public:
  placed(std::int64_t rows, std::int64_t cols) : here_(rows, cols) {}
  explicit placed(matrix<T> values) : here_(std::move(values)) {}
  matrix_view<T> view() { return here_.view(); }
  matrix_view<T const> read() const { return here_.read(); }
  matrix<T> const& fetch() const { return here_; }

 private:
  matrix<T> here_;
};

/// What an observer is shown, on this machine.
template <class Memory, class T>
matrix<T> fetch(matrix_view<T const> shown) {
  matrix<T> here(shown.rows(), shown.cols());
  if (shown.empty()) return here;
  auto const compact = [&](T const* values) {
    for (std::int64_t r = 0; r < shown.rows(); ++r)
      std::copy_n(values + r * shown.stride(), shown.cols(), here.view().row(r));
  };
  if constexpr (requires { Memory::copy_out(shown.data(), shown.rows(), here.view().data()); }) {
    buffer<T> all((shown.rows() - 1) * shown.stride() + shown.cols());
    Memory::copy_out(shown.data(), all.size(), all.data());
    compact(all.data());
  } else {
    compact(shown.data());
  }
  return here;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
