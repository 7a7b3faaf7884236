// add_norm on a device: a block a row; the three norms inside Mamba in one launch. A block a row:
// the sum is written as the rest of the model sees it, rounded, and its squares are added up; then
// the row is scaled.
#pragma once

#include <plait/exec/device.hpp>
#include <plait/ops/add_norm.hpp>
#include <plait/ops/cuda/vector.hpp>

namespace plait::inline PLAIT_ABI::kernels {

/// Block (t, p) normalises part p of row t. With y the sum is written to x, rounded, and what is
/// normalised is the rounded sum: the same values that the rest of the model sees.
/// Equation: out = weight (x scale), scale = 1 / sqrt(squares / d + eps); the three norms inside
///   Mamba are one launch
/// Cost: x and y read, x and out written once; the second look at x is the L1 cache's
/// Test: tests/ops/cuda/pointwise_test.cpp
template <class T>
struct add_norm {
  static constexpr int most_parts = 4;
  struct part {
    rows_of<T> x, out;
    rows_of<T const> y;  ///< null: nothing to add
    float const* weight;
    std::int64_t cols;
  };
  struct args {
    part parts[most_parts];
    float eps;
  };
  static constexpr int threads = 256;
  template <class Block>
  struct shared {
    typename Block::reduce_space squares;
  };

  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    part const& p = a.parts[b.y()];
    std::int64_t const t = b.x(), step = threads * lot;
    T* const x = p.x.row(t);
    T* const out = p.out.row(t);
    float squares = 0;
    for (std::int64_t c = b.thread() * std::int64_t{lot}; c < p.cols; c += step) {
      float v[lot];
      load_lot(x + c, p.cols - c, p.x.aligned, v);
      if (p.y.data != nullptr) {
        float w[lot];
        load_lot(p.y.row(t) + c, p.cols - c, p.y.aligned, w);
        PLAIT_UNROLL
        for (int i = 0; i < lot; ++i) v[i] = widen(narrow<T>(v[i] + w[i]));
        store_lot(x + c, p.cols - c, p.x.aligned, v);
      }
      PLAIT_UNROLL
      for (int i = 0; i < lot; ++i) squares += v[i] * v[i];
    }
    float const scale = 1.0f / sqrtf(b.sum(s.squares, squares) / static_cast<float>(p.cols) + a.eps);
    for (std::int64_t c = b.thread() * std::int64_t{lot}; c < p.cols; c += step) {
      float v[lot], w[lot];
      load_lot(x + c, p.cols - c, p.x.aligned, v);  // this thread's own
      load_lot(p.weight + c, p.cols - c, true, w);
      PLAIT_UNROLL
      for (int i = 0; i < lot; ++i) v[i] = w[i] * (v[i] * scale);
      store_lot(out + c, p.cols - c, p.out.aligned, v);
    }
  }
};

}  // namespace plait::inline PLAIT_ABI::kernels

namespace plait::inline PLAIT_ABI::ops {

template <precision P, class Runtime>
struct add_norm_op<exec::device<P, Runtime>> {
  template <class T, class Memory>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, matrix_view<T const> y, device_vector<Memory> const& weight, float eps,
                  matrix_view<T> out) {
    typename kernels::add_norm<T>::args args{{}, eps};
    args.parts[0] = {x, out, y.empty() ? kernels::rows_of<T const>{} : kernels::rows_of<T const>(y), weight.there(), x.cols()};
    exec.template launch<kernels::add_norm<T>>({.x = x.rows()}, args);
  }
};

template <precision P, class Runtime>
struct inner_norms_op<exec::device<P, Runtime>> {
  template <class T, class Memory, std::size_t Parts>
  static void run(exec::device<P, Runtime>& exec, matrix_view<T> x, std::array<device_vector<Memory> const*, Parts> const& weights,
                  float eps) {
    static_assert(Parts <= kernels::add_norm<T>::most_parts);
    typename kernels::add_norm<T>::args args{{}, eps};
    std::int64_t first = 0;
    for (std::size_t p = 0; p < Parts; ++p) {
      auto const part = x.middle_cols(first, weights[p]->rows());
      args.parts[p] = {part, part, {}, weights[p]->there(), part.cols()};
      first += part.cols();
    }
    exec.template launch<kernels::add_norm<T>>({.x = x.rows(), .y = Parts}, args);
  }
};

}  // namespace plait::inline PLAIT_ABI::ops
