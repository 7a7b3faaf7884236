// State matrices of a selective scan on the CPU: A_log, and the decay computed from it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/macros.hpp>
#include <plait/cpu/channel_tensor.hpp>
#include <plait/policy/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

PLAIT_NAMESPACE_BEGIN

/// A_log as a channel_tensor, and A log2(e) with A = -exp(A_log), computed once per set_row, so
/// that exp(delta A) is 2^(delta A log2(e)).
/// Shapes: A log2(e) as [rows / block][cols][block], a block being a register of channels, the last
///   one padded with zeros. All states of a block are one stream; in [cols][rows] order, columns a
///   power of two apart would compete for a few sets of the L1 cache
/// Test: tests/unit/layers/weights_test.cpp
class state_tensor : public channel_tensor {
 public:
  static constexpr std::int64_t block = PLAIT_PACKET;

  void allocate(tensor const& t) {
    channel_tensor::allocate(t);
    log2_decay_ = buffer<float>((t.rows + block - 1) / block * block * t.cols);
  }
  /// A log2(e) of the block of channels that begins at c: [cols][block]. Its NaNs have no payload,
  /// as simd::exp2 requires (cpu/simd.hpp).
  float const* log2_decay(std::int64_t c) const { return log2_decay_.data() + c * cols_; }
  void set_row(std::int64_t copy, std::int64_t r, float const* values) {
    channel_tensor::set_row(copy, r, values);
    float* const at = log2_decay_.data() + r / block * block * cols_ + r % block;
    for (std::int64_t c = 0; c < cols_; ++c) {
      double const decay = -std::exp(double{values[c]}) * 1.4426950408889634;
      at[c * block] =
          std::isnan(decay) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(decay);
    }
  }

 private:
  buffer<float> log2_decay_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
