// Tensors of a device: set and read on the host, uploaded to the memory that kernels read.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/half.hpp>
#include <plait/core/int8_block.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN

namespace detail {
/// A tensor's bytes: on the host while they are set, on the device from upload() on.
template <class Memory>
class device_bytes {
 public:
  explicit device_bytes(std::int64_t bytes = 0) : host_(bytes) {}
  void upload() {
    if (host_.size() == 0 || device_.size() > 0) return;
    device_ = typename Memory::template buffer<std::byte>(host_.size());
    Memory::copy_in(std::as_const(host_).data(), host_.size(), device_.data());
    host_ = {};
  }
  /// Bytes that upload() will allocate on the device.
  std::int64_t pending_bytes() const { return device_.size() > 0 ? 0 : host_.size(); }
  /// Allocates the device's memory without copying to it: kernels fill it.
  void allocate_on_device() {
    if (device_.size() == 0) {
      device_ = typename Memory::template buffer<std::byte>(host_.size());
      host_ = {};
    }
  }
  /// The bytes on the host; copied from the device if the host has none.
  std::byte* host() {
    if (host_.size() == 0 && device_.size() > 0) {
      host_ = buffer<std::byte>(device_.size());
      Memory::copy_out(std::as_const(device_).data(), device_.size(), host_.data());
    }
    return host_.data();
  }
  /// The bytes on the host, for writing. Frees the device's copy, because the write makes it stale.
  std::byte* change() {
    std::byte* const at = host();
    // Several threads may set rows before upload(): then none of them writes device_.
    if (device_.size() > 0) device_ = {};
    return at;
  }
  std::byte* device_view() { return device_.data(); }
  std::byte const* device_view() const { return device_.data(); }

 private:
  buffer<std::byte> host_;
  typename Memory::template buffer<std::byte> device_;
};
}  // namespace detail

/// A linear map, set and read on the host, moved to the device by upload(). Several threads may set
/// rows before upload(). Reading after upload() copies the whole tensor to the host: for tests and
/// saving.
///
/// Errors: those of the memory's buffer
/// Cost: memory on the host until upload(), on the device from then on, and on the host again for
///   what is read back or set
/// Test: tests/unit/gpu/device_storage_test.cpp
template <dtype Type, class Memory>
class device_matrix : public tensor_shape {
 public:
  static constexpr dtype type = Type;

  void allocate(tensor const& t) {
    set_shape(t);
    layout_ = {nullptr, nullptr, t.copies, t.rows, t.cols};
    bytes_ =
        detail::device_bytes<Memory>(t.copies * (layout_.copy_bytes() + layout_.copy_scales() * 2));
  }
  void set_part(std::int64_t copy, std::int64_t r, std::int64_t first, std::int64_t n,
                float const* values) {
    auto const w = on(bytes_.change()).copy(copy);
    auto* const data = const_cast<std::byte*>(w.data);
    if constexpr (Type == dtype::int8) {
      for (std::int64_t c = first; c < first + n; c += int8_block) {
        std::uint8_t bytes[int8_block];
        const_cast<std::uint16_t*>(w.scales)[w.scale_place(r, c)] =
            quantize_block(values + c - first, std::min(int8_block, first + n - c), bytes);
        for (std::int64_t i = 0; i < int8_block; ++i)
          data[w.place(r, c + i)] = static_cast<std::byte>(bytes[i] ^ 0x80u);
      }
    } else {
      using element = std::conditional_t<Type == dtype::f32, float, bf16_t>;
      for (std::int64_t c = 0; c < n; ++c)
        reinterpret_cast<element*>(data)[r * w.stride() + first + c] = element(values[c]);
    }
  }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    set_part(copy, r, 0, cols_, values);
  }
  float at(std::int64_t copy, std::int64_t r, std::int64_t c) const {
    return on(bytes_.host()).copy(copy).at(r, c);
  }
  float operator()(std::int64_t r, std::int64_t c = 0) const { return at(0, r, c); }
  void get_row(std::int64_t copy, std::int64_t r, float* values) const {
    auto const w = on(bytes_.host()).copy(copy);
    for (std::int64_t c = 0; c < cols_; ++c) values[c] = w.at(r, c);
  }

  void upload() { bytes_.upload(); }
  std::int64_t pending_bytes() const { return bytes_.pending_bytes(); }
  void allocate_on_device() { bytes_.allocate_on_device(); }
  /// The map in the device's memory; null before upload().
  device_weights<Type> device_view() const { return on(bytes_.device_view()); }
  std::byte* device_data() { return bytes_.device_view(); }

 private:
  device_weights<Type> on(std::byte const* base) const {
    device_weights<Type> w = layout_;
    w.data = base;
    if (Type == dtype::int8 && base != nullptr)
      w.scales = reinterpret_cast<std::uint16_t const*>(base + w.copies * w.copy_bytes());
    return w;
  }

  device_weights<Type> layout_;
  mutable detail::device_bytes<Memory> bytes_;
};

/// Values of [rows] channels stored as [cols][rows], in f32.
/// Test: tests/unit/gpu/device_storage_test.cpp
template <class Memory>
class device_vector : public tensor_shape {
 public:
  void allocate(tensor const& t) {
    set_shape(t);
    bytes_ = detail::device_bytes<Memory>(t.rows * t.cols * 4);
  }
  void set_row(std::int64_t, std::int64_t r, float const* values) {
    float* const at = reinterpret_cast<float*>(bytes_.change());
    for (std::int64_t c = 0; c < cols_; ++c) at[c * rows_ + r] = values[c];
  }
  void get_row(std::int64_t, std::int64_t r, float* values) const {
    for (std::int64_t c = 0; c < cols_; ++c) values[c] = host()[c * rows_ + r];
  }
  float at(std::int64_t, std::int64_t r, std::int64_t c) const { return host()[c * rows_ + r]; }
  float operator()(std::int64_t r, std::int64_t c = 0) const { return at(0, r, c); }
  void upload() { bytes_.upload(); }
  std::int64_t pending_bytes() const { return bytes_.pending_bytes(); }
  void allocate_on_device() { bytes_.allocate_on_device(); }
  /// [cols][rows], null before upload().
  float const* device_view() const {
    return reinterpret_cast<float const*>(std::as_const(bytes_).device_view());
  }

 private:
  float* host() const { return reinterpret_cast<float*>(bytes_.host()); }
  mutable detail::device_bytes<Memory> bytes_;
};

/// A state matrix. The device has A log2(e) with A = -exp(A_log), so that exp(delta A) is 2^(delta
/// A log2(e)); the host keeps A_log.
/// Shapes: on the device [cols][rows]
/// Test: tests/unit/gpu/device_storage_test.cpp
template <class Memory>
class device_state : public tensor_shape {
 public:
  void allocate(tensor const& t) {
    set_shape(t);
    logarithms_ = buffer<float>(t.rows * t.cols);
    decay_ = {};
  }
  void set_row(std::int64_t, std::int64_t r, float const* values) {
    std::copy_n(values, cols_, logarithms_.data() + r * cols_);
    decay_ = {};
  }
  void get_row(std::int64_t, std::int64_t r, float* values) const {
    std::copy_n(logarithms_.data() + r * cols_, cols_, values);
  }
  float at(std::int64_t, std::int64_t r, std::int64_t c) const {
    return logarithms_[r * cols_ + c];
  }
  float operator()(std::int64_t r, std::int64_t c = 0) const { return at(0, r, c); }
  void upload() {
    if (decay_.size() > 0 || logarithms_.size() == 0) return;
    buffer<float> decay(rows_ * cols_);
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c)
        decay[c * rows_ + r] =
            static_cast<float>(-std::exp(double{at(0, r, c)}) * 1.4426950408889634);
    decay_ = typename Memory::template buffer<float>(decay.size());
    Memory::copy_in(std::as_const(decay).data(), decay.size(), decay_.data());
  }
  std::int64_t pending_bytes() const {
    return decay_.size() > 0 ? 0 : logarithms_.size() * std::int64_t{sizeof(float)};
  }
  void allocate_on_device() { upload(); }
  /// A log2(e), [cols][rows], null before upload().
  float const* device_view() const { return decay_.data(); }

 private:
  buffer<float> logarithms_;
  typename Memory::template buffer<float> decay_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
