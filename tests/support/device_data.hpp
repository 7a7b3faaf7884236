// Matrices, tensors and ragged batches in the memory of a device made of fibers.
#pragma once

#include <support/data.hpp>
#include <support/fibers.hpp>

namespace test {

template <plait::precision P>
fiber_device<P> device_with(std::uint64_t seed = 1, std::int64_t room = std::int64_t{1} << 24) {
  fiber_device<P> exec;
  exec.runtime.seed = seed;
  exec.workspace.reserve(room);
  return exec;
}
/// Workspace that holds NaN: what a kernel reads before another one wrote it shows.
template <class Device>
void poison(Device& exec) {
  std::vector<std::byte> const bytes(std::size_t(exec.workspace.capacity()), std::byte{0xff});
  fiber_memory::copy(bytes.data(), std::int64_t(bytes.size()), exec.workspace.data());
}

/// The nearest values that T has.
template <class T>
matrix<float> rounded(matrix<float> m) {
  for (std::int64_t r = 0; r < m.rows(); ++r)
    for (std::int64_t c = 0; c < m.cols(); ++c) m(r, c) = static_cast<float>(T(m(r, c)));
  return m;
}

/// A matrix on the device, whose rows stand apart, with canaries around (as test::matrix).
template <class T>
class device_matrix_of {
 public:
  device_matrix_of(std::int64_t rows, std::int64_t cols, std::int64_t gap = 8) : device_matrix_of(matrix<float>(rows, cols), gap) {}
  explicit device_matrix_of(matrix<float> const& m, std::int64_t gap = 8)
      : rows_(m.rows()), cols_(m.cols()), stride_((m.cols() + 7) / 8 * 8 + gap), data_(2 * margin + rows_ * stride_) {
    std::vector<T> all(std::size_t(data_.size()), T(canary));
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) all[std::size_t(margin + r * stride_ + c)] = T(m(r, c));
    fiber_memory::copy_in(all.data(), data_.size(), data_.data());
  }
  plait::matrix_view<T> view() { return {data_.data() + margin, rows_, cols_, stride_}; }
  plait::matrix_view<T const> const_view() const { return {data_.data() + margin, rows_, cols_, stride_}; }
  matrix<float> values() const {
    auto const all = fetched();
    matrix<float> m(rows_, cols_);
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) m(r, c) = static_cast<float>(all[std::size_t(margin + r * stride_ + c)]);
    return m;
  }
  bool intact() const {
    auto const all = fetched();
    for (std::int64_t i = 0; i < std::int64_t(all.size()); ++i) {
      std::int64_t const at = i - margin;
      bool const inside = at >= 0 && at < rows_ * stride_ && at % stride_ < cols_;
      if (!inside && static_cast<float>(all[std::size_t(i)]) != static_cast<float>(T(canary))) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t margin = 64;
  static constexpr float canary = -12345.5f;
  std::vector<T> fetched() const {
    std::vector<T> all(std::size_t(data_.size()));
    fiber_memory::copy_out(data_.data(), data_.size(), all.data());
    return all;
  }
  std::int64_t rows_, cols_, stride_;
  fiber_memory::buffer<T> data_;
};

/// As make_tensor, on the device.
template <class Device, plait::role Role>
auto make_device_tensor(std::vector<float> const& values, std::int64_t rows, std::int64_t cols = 1, std::int64_t copies = 1) {
  auto t = make_tensor<typename Device::storage_type, Role>(values, rows, cols, copies);
  t.upload();
  return t;
}

}  // namespace test
