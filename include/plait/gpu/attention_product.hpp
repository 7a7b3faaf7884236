// Attention of one prompt, as it is asked of a library.
// Test: tests/unit/exec/device_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// out = causal attention of one prompt, nothing cached, by a library: query t of `tokens` sees the
/// keys 0 .. t,
///   out = sum_j softmax_j(scale q k_j) v_j,
/// `heads` query heads, `kv_heads` of keys and values, each `dim` wide, heads behind one another in
/// a row; rows stand `stride` values apart. `out` is none of the others.
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
  std::int64_t tokens, heads, kv_heads, dim;
  float scale;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
