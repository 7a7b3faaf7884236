// The kernel of embed.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/device_weights.hpp>
#include <plait/gpu/vector.hpp>
#include <plait/policy/precision.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (t, piece) copies a piece of row ids[t] of the table to row t of y; a thread copies eight
/// values.
/// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
template <dtype Stored, class T>
struct embed {
  struct args {
    std::int32_t const* ids;
    device_weights<Stored> table;
    rows_of<T> y;
    std::int64_t rows;
  };
  static constexpr int threads = 128;
  template <class>
  using shared = no_shared;

  template <class Block>
  PLAIT_HD static void run(Block const& b, no_shared&, args const& a) {
    std::int64_t const d = a.table.cols, t = b.x(), id = a.ids[t];
    for (std::int64_t c = (b.y() * threads + b.thread()) * vector_elements; c < d;
         c += std::int64_t{threads} * vector_elements * b.grid_y()) {
      float v[vector_elements];
      if constexpr (Stored == dtype::bf16) {
        load_vector(reinterpret_cast<bf16_t const*>(a.table.data) + id * a.table.stride() + c,
                    d - c, true, v);
      } else if constexpr (Stored == dtype::f32) {
        load_vector(reinterpret_cast<float const*>(a.table.data) + id * a.table.stride() + c, d - c,
                    true, v);
      } else {
        for (int i = 0; i < vector_elements; ++i) v[i] = c + i < d ? a.table.at(id, c + i) : 0.0f;
      }
      store_vector(a.y.row(t) + c, d - c, a.y.aligned, v);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
