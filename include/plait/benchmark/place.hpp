// Matrices in the memory of an execution policy: the host's, or that of a device with memory of its
// own (exec/device.hpp).
// Errors: those of the memory
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
/// Test: tests/unit/benchmark/device_register_test.cpp
template <class Exec>
concept on_device = requires {
  typename Exec::runtime_type;
};

/// A matrix in the memory of an execution policy, zero or copied from the host.
/// Shapes: [rows, cols]
/// Cost: on the host nothing is copied; on a device `fetch` waits for all kernels
/// Test: tests/unit/benchmark/device_register_test.cpp
template <class T, class Memory>
class placed {
 public:
  placed(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols), data_(rows * cols) {}
  explicit placed(matrix<T> const& values) : placed(values.read().rows(), values.read().cols()) {
    Memory::copy_in(values.read().data(), data_.size(), data_.data());
  }
  matrix_view<T> view() { return {data_.data(), rows_, cols_}; }
  matrix_view<T const> read() const { return {data_.data(), rows_, cols_}; }
  /// The values on the host.
  matrix<T> fetch() const {
    matrix<T> values(rows_, cols_);
    Memory::copy_out(data_.data(), data_.size(), values.view().data());
    return values;
  }

 private:
  std::int64_t rows_, cols_;
  typename Memory::template buffer<T> data_;
};

template <class T>
class placed<T, host_memory> {
 public:
  placed(std::int64_t rows, std::int64_t cols) : matrix_(rows, cols) {}
  explicit placed(matrix<T> values) : matrix_(std::move(values)) {}
  matrix_view<T> view() { return matrix_.view(); }
  matrix_view<T const> read() const { return matrix_.read(); }
  matrix<T> const& fetch() const { return matrix_; }

 private:
  matrix<T> matrix_;
};

/// A copy on the host of a view that an observer is given.
/// Shapes: view [rows, cols] with any stride; the copy has none
/// Cost: on a device waits for all kernels, and copies what lies between the rows too
/// Test: tests/unit/benchmark/device_register_test.cpp
template <class Memory, class T>
matrix<T> fetch(matrix_view<T const> view) {
  matrix<T> copy(view.rows(), view.cols());
  if (view.empty()) return copy;
  auto const compact = [&](T const* values) {
    for (std::int64_t r = 0; r < view.rows(); ++r)
      std::copy_n(values + r * view.stride(), view.cols(), copy.view().row(r));
  };
  if constexpr (requires { Memory::copy_out(view.data(), view.rows(), copy.view().data()); }) {
    buffer<T> all((view.rows() - 1) * view.stride() + view.cols());
    Memory::copy_out(view.data(), all.size(), all.data());
    compact(all.data());
  } else {
    compact(view.data());
  }
  return copy;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
