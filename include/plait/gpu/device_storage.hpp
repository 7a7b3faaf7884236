// How tensors are kept on a device: linear maps as kernels read them, in f32, bf16 or int8,
// everything else f32.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/half.hpp>
#include <plait/core/int8_block.hpp>
#include <plait/core/tensor_shape.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN

/// What a kernel sees of a linear map [copies][rows][cols].
///
/// - f32, bf16: row-major; rows are `stride` values apart, padded with zeros to 16 bytes (f32) or
///   32 values (bf16)
/// - `int8`: tiles of 16 rows and 32 columns in the order in which the lanes of a warp want them
///   for mma.m16n8k16, 16 bytes a lane (place), and for every tile 16 scales, binary16: value =
///   scale * byte, byte from -127 to 127 (core/int8_block.hpp)
///
/// Rows are padded with zeros to a multiple of 16.
///
/// `at` and `get_row` after `upload()` fetch the whole tensor: for tests and saving.
/// Equation: int8 is value = scale byte with a scale for every 32 columns: the numbers that the CPU
///   keeps, to the bit (int8_block.hpp)
/// Shapes: rows are padded with zeros to a multiple of 16, columns of bf16 and int8 to 32. A tile
///   of int8, 16 rows of 32 columns, is 512 bytes, 16 a lane, as mma.m16n8k16 takes them; its 16
///   scales stand in an array of their own
/// Errors: those of the memory's buffer
/// Cost: a tensor has memory on this machine until `upload()`, and none from then on
///   (`device_state` apart, and what is read back or set again)
/// Test: tests/unit/gpu/device_storage_test.cpp
template <dtype Type>
struct device_weights {
  static constexpr dtype type = Type;
  static constexpr std::int64_t tile_rows = 16, tile_cols = 32, tile_bytes = tile_rows * tile_cols;

  std::byte const* data = nullptr;
  std::uint16_t const* scales = nullptr;  ///< int8 only: [copies][rows / 16][cols / 32][16]
  std::int64_t copies = 0, rows = 0, cols = 0;

  PLAIT_HD constexpr std::int64_t row_tiles() const { return (rows + tile_rows - 1) / tile_rows; }
  PLAIT_HD constexpr std::int64_t col_tiles() const { return (cols + tile_cols - 1) / tile_cols; }
  PLAIT_HD constexpr std::int64_t padded_rows() const { return row_tiles() * tile_rows; }
  /// Values between two rows, of f32 and bf16.
  PLAIT_HD constexpr std::int64_t stride() const {
    return Type == dtype::f32 ? (cols + 3) / 4 * 4 : col_tiles() * tile_cols;
  }
  PLAIT_HD constexpr std::int64_t copy_bytes() const {
    return Type == dtype::f32    ? padded_rows() * stride() * 4
           : Type == dtype::bf16 ? padded_rows() * stride() * 2
                                 : row_tiles() * col_tiles() * tile_bytes;
  }
  PLAIT_HD constexpr std::int64_t copy_scales() const {
    return Type == dtype::int8 ? row_tiles() * col_tiles() * tile_rows : 0;
  }

  /// Copy e alone.
  PLAIT_HD constexpr device_weights copy(std::int64_t e) const {
    return {data + e * copy_bytes(), Type == dtype::int8 ? scales + e * copy_scales() : nullptr, 1,
            rows, cols};
  }
  /// Of int8: the byte of (row, col) of copy 0. Lane (row % 8) * 4 + col % 32 / 8 of a tile holds
  /// rows g = row % 8 and g + 8, and of each 8 columns; in a word of 4 bytes are columns 2 i (bytes
  /// 0 and 1, of rows g and g + 8) and 2 i + 1 (bytes 2 and 3).
  PLAIT_HD constexpr std::int64_t place(std::int64_t row, std::int64_t col) const {
    std::int64_t const tile = row / tile_rows * col_tiles() + col / tile_cols,
                       lane = row % 8 * 4 + col % tile_cols / 8;
    std::int64_t const word = col % 8 / 2, byte = row % tile_rows / 8 + 2 * (col % 2);
    return tile * tile_bytes + lane * 16 + word * 4 + byte;
  }
  PLAIT_HD constexpr std::int64_t scale_place(std::int64_t row, std::int64_t col) const {
    return (row / tile_rows * col_tiles() + col / tile_cols) * tile_rows + row % tile_rows;
  }
  /// One value of copy 0, by the way that is slow but shows the layout.
  PLAIT_HD float at(std::int64_t row, std::int64_t col) const {
    if constexpr (Type == dtype::f32)
      return reinterpret_cast<float const*>(data)[row * stride() + col];
    else if constexpr (Type == dtype::bf16)
      return from_bf16(reinterpret_cast<std::uint16_t const*>(data)[row * stride() + col]);
    else
      return from_f16(scales[scale_place(row, col)]) *
             static_cast<float>(
                 static_cast<std::int8_t>(static_cast<std::uint8_t>(data[place(row, col)])));
  }
};

namespace detail {
/// A tensor's bytes: on this machine while they are set, on the device from upload() on.
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
  /// Bytes that upload() will take of the device.
  std::int64_t pending_bytes() const { return device_.size() > 0 ? 0 : host_.size(); }
  /// Memory of the device that is not filled from here.
  void allocate_on_device() {
    if (device_.size() == 0) {
      device_ = typename Memory::template buffer<std::byte>(host_.size());
      host_ = {};
    }
  }
  std::byte* host() {
    if (host_.size() == 0 && device_.size() > 0) {
      host_ = buffer<std::byte>(device_.size());
      Memory::copy_out(std::as_const(device_).data(), device_.size(), host_.data());
    }
    return host_.data();
  }
  /// Set again: what is on the device is out of date.
  std::byte* change() {
    std::byte* const at = host();
    if (device_.size() > 0)
      device_ = {};  // not written by threads that set rows of what was never moved
    return at;
  }
  std::byte* device_view() { return device_.data(); }
  std::byte const* device_view() const { return device_.data(); }

 private:
  buffer<std::byte> host_;
  typename Memory::template buffer<std::byte> device_;
};
}  // namespace detail

/// Linear maps as device_weights<Type>. Setting them, reading them back and upload() are for this
/// machine; rows may be set by several threads at once, before upload. Reading after upload fetches
/// the tensor.
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
  /// What kernels read; on the device from upload() on, null before it.
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

/// Values by channel, f32: [cols][rows].
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

/// A state matrix. The device has A log2(e) with A = -exp(A_log), [cols][rows], so that exp(delta
/// A) is 2^(delta times it); this machine keeps the logarithms.
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

namespace storage {

namespace detail {
template <role R, dtype Weights, dtype Experts, class Memory>
struct device_tensor {
  using type = device_matrix<R == role::router   ? dtype::f32
                             : R == role::expert ? Experts
                                                 : Weights,
                             Memory>;
};
template <dtype Weights, dtype Experts, class Memory>
struct device_tensor<role::vector, Weights, Experts, Memory> {
  using type = device_vector<Memory>;
};
template <dtype Weights, dtype Experts, class Memory>
struct device_tensor<role::state, Weights, Experts, Memory> {
  using type = device_state<Memory>;
};
}  // namespace detail

/// For kernels: linear maps as device_weights, the rest f32, as the router is.
template <dtype Weights, dtype Experts, class Memory>
struct device {
  template <role R>
  using tensor = typename detail::device_tensor<R, Weights, Experts, Memory>::type;
  using table = device_matrix<Weights, Memory>;
};

}  // namespace storage
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
