// Arguments of attention by the device's library.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Causal attention of one prompt with an empty cache, which the device's library (cuDNN with CUDA)
/// computes.
///
/// Equation: out[t] = sum over j <= t of softmax_j(scale q[t] k[j]) v[j], by head; query heads
///   share keys and values in groups of heads / kv_heads
/// Shapes: q, out [tokens][heads][dim], k, v [tokens][kv_heads][dim]; rows are `stride` values
///   apart. `out` does not alias the others
/// Test: tests/unit/exec/device_test.cpp
template <class T>
struct attention_product {
  T const* q;
  std::int64_t q_stride;
  T const* k;
  std::int64_t k_stride;
  T const* v;
  std::int64_t v_stride;
  T* out;
  std::int64_t out_stride;
  std::int64_t tokens;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t dim;
  float scale;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
