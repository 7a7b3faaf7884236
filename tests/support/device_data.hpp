// Matrices, tensors and ragged batches in the memory of the device under test.
#pragma once

#include <support/data.hpp>
#include <support/device.hpp>

#include <plait/exec/reference.hpp>

namespace test {

/// Workspace bytes for one op: the emulator guards the whole workspace at every launch.
inline constexpr std::int64_t small_workspace = std::int64_t{1} << 18;

template <plait::precision P>
device<P> device_with(std::uint64_t seed = 1, std::int64_t room = std::int64_t{1} << 24) {
  device<P> exec;
  exec.runtime.seed = seed;
  exec.workspace.reserve(room);
  return exec;
}
/// Fills the workspace with NaN, so that a read before the first write shows.
template <class Device>
void poison(Device& exec) {
  std::vector<std::byte> const bytes(std::size_t(exec.workspace.capacity()), std::byte{0xff});
  device_memory::copy(bytes.data(), std::int64_t(bytes.size()), exec.workspace.data());
}

/// ||a - b|| / ||b||; infinite where sizes differ or a value is NaN.
inline double norm_difference(std::vector<float> const& a, std::vector<double> const& b) {
  double d = 0, n = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    d += (a[i] - b[i]) * (a[i] - b[i]);
    n += b[i] * b[i];
  }
  return a.size() == b.size() && d == d ? std::sqrt(d / n)
                                        : std::numeric_limits<double>::infinity();
}

/// The values rounded to T.
template <class T>
matrix<float> rounded(matrix<float> m) {
  for (std::int64_t r = 0; r < m.rows(); ++r)
    for (std::int64_t c = 0; c < m.cols(); ++c) m(r, c) = static_cast<float>(T(m(r, c)));
  return m;
}

/// test::matrix in the device's memory.
template <class T>
class device_matrix_of {
 public:
  device_matrix_of(std::int64_t rows, std::int64_t cols, std::int64_t gap = 8)
      : device_matrix_of(matrix<float>(rows, cols), gap) {}
  explicit device_matrix_of(matrix<float> const& m, std::int64_t gap = 8)
      : rows_(m.rows()),
        cols_(m.cols()),
        stride_((m.cols() + 7) / 8 * 8 + gap),
        data_(2 * margin + rows_ * stride_) {
    std::vector<T> all(std::size_t(data_.size()), T(canary));
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c)
        all[std::size_t(margin + r * stride_ + c)] = T(m(r, c));
    device_memory::copy_in(all.data(), data_.size(), data_.data());
  }
  plait::matrix_view<T> view() { return {data_.data() + margin, rows_, cols_, stride_}; }
  plait::matrix_view<T const> const_view() const {
    return {data_.data() + margin, rows_, cols_, stride_};
  }
  matrix<float> values() const {
    auto const all = fetched();
    matrix<float> m(rows_, cols_);
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c)
        m(r, c) = static_cast<float>(all[std::size_t(margin + r * stride_ + c)]);
    return m;
  }
  bool intact() const {
    auto const all = fetched();
    for (std::int64_t i = 0; i < std::int64_t(all.size()); ++i) {
      std::int64_t const at = i - margin;
      bool const inside = at >= 0 && at < rows_ * stride_ && at % stride_ < cols_;
      if (!inside && static_cast<float>(all[std::size_t(i)]) != static_cast<float>(T(canary)))
        return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t margin = 64;
  static constexpr float canary = -12345.5f;
  std::vector<T> fetched() const {
    std::vector<T> all(std::size_t(data_.size()));
    device_memory::copy_out(data_.data(), data_.size(), all.data());
    return all;
  }
  std::int64_t rows_, cols_, stride_;
  device_memory::buffer<T> data_;
};

/// make_tensor in the device's memory.
template <class Device, plait::role Role>
auto make_device_tensor(std::vector<float> const& values, std::int64_t rows, std::int64_t cols = 1,
                        std::int64_t copies = 1) {
  auto t = make_tensor<typename Device::storage_type, Role>(values, rows, cols, copies);
  t.upload();
  return t;
}

/// The values that a device's tensor stores, in double, for the reference.
template <plait::role Role, class Tensor>
plait::plain_tensor<double> stored(Tensor const& t) {
  std::vector<float> values(static_cast<std::size_t>(t.copies() * t.rows() * t.cols()));
  for (std::int64_t i = 0; i < t.copies() * t.rows(); ++i)
    t.get_row(i / t.rows(), i % t.rows(), values.data() + i * t.cols());
  return make_tensor<plait::exec::reference::storage_type, Role>(values, t.rows(), t.cols(),
                                                                 t.copies());
}

/// A batch of test::ragged<float>, its lists staged on the device; its states stay in f32.
template <class Device>
plait::sequences<typename Device::value_type> staged(Device& exec,
                                                     plait::sequences<float> const& batch) {
  plait::call_inputs<typename Device::value_type> inputs;
  inputs.seqs = {.count = batch.count,
                 .first_row = batch.first_row,
                 .length = batch.length,
                 .state = batch.state,
                 .state_offset = batch.state_offset};
  return exec.stage(inputs).seqs;
}

/// test::ragged in the device's memory; Value is Device::kv_type.
template <class Device>
class device_ragged : public ragged_lengths {
 public:
  using T = typename Device::value_type;
  using Value = typename Device::kv_type;
  using state_type = plait::state_value<T>;

  device_ragged(std::vector<std::int64_t> before, std::int64_t state_values,
                std::int64_t page_values)
      : ragged_lengths(std::move(before)),
        state_values_(state_values),
        page_values_(page_values),
        memory_(length_.size()) {
    std::vector<state_type> fresh(std::size_t(state_values + 2 * around), canary);
    std::fill_n(fresh.begin() + around, state_values, state_type{0});
    for (std::size_t s = 0; s < length_.size(); ++s) {
      states_.emplace_back(state_values + 2 * around);
      device_memory::copy_in(fresh.data(), states_.back().size(), states_.back().data());
      state_.push_back(states_.back().data());
    }
  }
  /// The batch with `now` new tokens per sequence, its lists on the device until the next call.
  plait::sequences<T> with(Device& exec, std::vector<std::int64_t> now) {
    std::vector<Value> fresh(std::size_t(page_values_ + 2 * around), Value(canary));
    std::fill_n(fresh.begin() + around, page_values_, Value(nan));
    begin(std::move(now), page_values_ > 0, [&](std::size_t s) {
      auto& page = memory_[s].emplace_back(std::int64_t(fresh.size()));
      device_memory::copy_in(fresh.data(), std::int64_t(fresh.size()), page.data());
      return reinterpret_cast<std::byte*>(page.data());
    });
    plait::call_inputs<T> inputs;
    inputs.seqs = {.count = std::int64_t(length_.size()),
                   .first_row = first_row_.data(),
                   .length = length_.data(),
                   .state = state_.data(),
                   .state_offset = around,
                   .pages = table_.data(),
                   .page_offset = around};
    return exec.stage(inputs).seqs;
  }
  std::vector<state_type> state(std::size_t s) const { return part(states_[s], state_values_); }
  std::vector<Value> page(std::size_t s, std::int64_t p) const {
    return part(memory_[s][std::size_t(p)], page_values_);
  }
  bool intact() const {
    for (std::size_t s = 0; s < length_.size(); ++s) {
      if (!intact(states_[s])) return false;
      for (auto const& page : memory_[s])
        if (!intact(page)) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t around = 48;
  static constexpr float canary = -12345.5f;
  template <class U>
  static std::vector<U> fetched(device_memory::buffer<U> const& from) {
    std::vector<U> all(std::size_t(from.size()));
    device_memory::copy_out(from.data(), from.size(), all.data());
    return all;
  }
  template <class U>
  static std::vector<U> part(device_memory::buffer<U> const& from, std::int64_t n) {
    auto const all = fetched(from);
    return {all.begin() + around, all.begin() + around + n};
  }
  template <class U>
  static bool intact(device_memory::buffer<U> const& from) {
    auto const all = fetched(from);
    auto const canaries = [](auto first) {
      return std::all_of(first, first + around, [](U x) {
        return static_cast<float>(x) == static_cast<float>(U(canary));
      });
    };
    return canaries(all.begin()) && canaries(all.end() - around);
  }

  std::int64_t state_values_, page_values_;
  std::vector<device_memory::buffer<state_type>> states_;
  std::vector<state_type*> state_;
  std::vector<std::vector<device_memory::buffer<Value>>> memory_;
};

}  // namespace test
