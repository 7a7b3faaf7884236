// A thread takes eight values of a row; of an int8 table it gathers them from their tiles.
// Test: tests/ops/cuda/pointwise_test.cpp
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/cuda/vector.hpp>
#include <plait/ops/embed.hpp>

namespace plait::inline PLAIT_ABI::kernels {

/// The kernel: a thread takes eight values of a row.
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
    for (std::int64_t c = (b.y() * threads + b.thread()) * lot; c < d; c += std::int64_t{threads} * lot * b.grid_y()) {
      float v[lot];
      if constexpr (Stored == dtype::bf16) {
        load_lot(reinterpret_cast<bf16_t const*>(a.table.data) + id * a.table.stride() + c, d - c, true, v);
      } else if constexpr (Stored == dtype::f32) {
        load_lot(reinterpret_cast<float const*>(a.table.data) + id * a.table.stride() + c, d - c, true, v);
      } else {
        for (int i = 0; i < lot; ++i) v[i] = c + i < d ? a.table.at(id, c + i) : 0.0f;
      }
      store_lot(a.y.row(t) + c, d - c, a.y.aligned, v);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct embed_op<exec::device<P, Runtime>> {
  template <dtype Stored, class Memory, class T>
  static void run(exec::device<P, Runtime>& exec, std::span<std::int32_t const> ids, device_matrix<Stored, Memory> const& table,
                  matrix_view<T> y) {
    using kernel = kernels::embed<Stored, T>;
    std::int64_t const pieces = (y.cols() + kernel::threads * kernels::lot - 1) / (kernel::threads * kernels::lot);
    exec.template launch<kernel>({.x = y.rows(), .y = pieces}, {ids.data(), table.there(), y, y.rows()});
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
