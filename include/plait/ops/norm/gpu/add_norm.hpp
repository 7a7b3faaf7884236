// The kernel of add_norm and inner_norms.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/gpu/block.hpp>
#include <plait/gpu/vector.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Block (t, p) normalises part p of row t. Where y is given, the sum is written to x, rounded to
/// T, and the norm is that of the rounded sum: the values that later layers read.
/// Equation: out = weight (x scale), scale = 1 / sqrt(squares / d + eps)
/// Cost: x and y read, x and out written once; x is read again from the L1 cache
/// Test: tests/unit/ops/rows/pointwise_gpu_test.cpp
template <class T>
struct add_norm {
  static constexpr int max_parts = 4;
  struct part {
    rows_of<T> x, out;
    rows_of<T const> y;  ///< null data: no residual
    float const* weight;
    std::int64_t cols;
  };
  struct args {
    part parts[max_parts];
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
    std::int64_t const t = b.x(), step = threads * vector_elements;
    T* const x = p.x.row(t);
    T* const out = p.out.row(t);
    float squares = 0;
    for (std::int64_t c = b.thread() * std::int64_t{vector_elements}; c < p.cols; c += step) {
      float v[vector_elements];
      load_vector(x + c, p.cols - c, p.x.aligned, v);
      if (p.y.data != nullptr) {
        float w[vector_elements];
        load_vector(p.y.row(t) + c, p.cols - c, p.y.aligned, w);
        PLAIT_UNROLL
        for (int i = 0; i < vector_elements; ++i) v[i] = widen(narrow<T>(v[i] + w[i]));
        store_vector(x + c, p.cols - c, p.x.aligned, v);
      }
      PLAIT_UNROLL
      for (int i = 0; i < vector_elements; ++i) squares += v[i] * v[i];
    }
    float const scale =
        1.0f / sqrtf(b.sum(s.squares, squares) / static_cast<float>(p.cols) + a.eps);
    for (std::int64_t c = b.thread() * std::int64_t{vector_elements}; c < p.cols; c += step) {
      float v[vector_elements], w[vector_elements];
      load_vector(x + c, p.cols - c, p.x.aligned, v);  // written by this thread
      load_vector(p.weight + c, p.cols - c, true, w);
      PLAIT_UNROLL
      for (int i = 0; i < vector_elements; ++i) v[i] = w[i] * (v[i] * scale);
      store_vector(out + c, p.cols - c, p.out.aligned, v);
    }
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
