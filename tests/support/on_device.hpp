// An array in the memory of a device.
#pragma once

#include <plait/cuda.cuh>

#include <cstdint>
#include <utility>
#include <vector>

namespace test {

/// An array in the memory of the device.
template <class T>
class on_device {
 public:
  explicit on_device(std::int64_t n) : data_(n) {}
  explicit on_device(std::vector<T> const& values) : data_(std::int64_t(values.size())) {
    plait::exec::cuda_memory::copy_in(values.data(), std::int64_t(values.size()), data_.data());
  }
  T* data() { return data_.data(); }
  std::int64_t size() const { return data_.size(); }
  std::vector<T> values() const {
    std::vector<T> v(static_cast<std::size_t>(data_.size()));
    plait::exec::cuda_memory::copy_out(data_.data(), data_.size(), v.data());
    return v;
  }
  plait::matrix_view<T> view(std::int64_t rows, std::int64_t cols) {
    return {data_.data(), rows, cols};
  }

 private:
  plait::exec::cuda_memory::buffer<T> data_;
};

}  // namespace test
