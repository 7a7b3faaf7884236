// Inputs and weights that take little time to make: pseudorandom numbers, the same for any element
// type and storage.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/view.hpp>
#include <plait/model/initialize.hpp>
#include <plait/policy/tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// A fast stream of uniform numbers, from a linear congruential generator.
/// Equation: x <- 1664525 x + 1013904223 mod 2^32, uniform in (-scale, scale)
/// Source: Press et al., Numerical Recipes in C, 1992, section 7.1 (ranqd1)
/// Test: tests/unit/benchmark/probe_test.cpp
class numbers {
 public:
  explicit numbers(std::uint64_t seed, float scale = 1.0f)
      : state_(static_cast<std::uint32_t>(plait::detail::mix(7, seed))),
        scale_(scale / 2147483648.0f) {}
  float operator()() {
    return scale_ *
           static_cast<float>(static_cast<std::int32_t>(state_ = state_ * 1664525u + 1013904223u));
  }

 private:
  std::uint32_t state_;
  float scale_;
};

/// A matrix that owns its values: zero, or with a seed pseudorandom. Row r is drawn from stream
/// first + r, so that a row has the same values in any element type and in any range of rows.
/// Shapes: [rows, cols]
/// Errors: those of core/buffer.hpp
/// Test: tests/unit/benchmark/probe_test.cpp
template <class T>
class matrix {
 public:
  matrix(std::int64_t rows, std::int64_t cols, std::uint64_t seed = 0, std::int64_t first = 0)
      : rows_(rows), cols_(cols), data_(rows * cols) {
    if (seed == 0) return;
    for (std::int64_t r = 0; r < rows; ++r) {
      numbers random(plait::detail::mix(seed, static_cast<std::uint64_t>(first + r)));
      for (std::int64_t c = 0; c < cols; ++c) data_[r * cols + c] = static_cast<T>(random());
    }
  }
  matrix_view<T> view() { return {data_.data(), rows_, cols_}; }
  matrix_view<T const> read() const { return {data_.data(), rows_, cols_}; }

 private:
  std::int64_t rows_;
  std::int64_t cols_;
  buffer<T> data_;
};

/// Fills an allocated tensor: uniform numbers of the published deviation, 0.02, where its
/// description says normal, else the start value it describes.
/// Cost: about a nanosecond per value
/// Test: tests/unit/benchmark/probe_test.cpp
template <class Tensor>
void fill(tensor const& t, Tensor& data, std::uint64_t stream) {
  if (t.start != initial::normal) return initialize_tensor(t, data, stream);
  std::vector<float> row(static_cast<std::size_t>(t.cols));
  for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
    numbers random(plait::detail::mix(stream, static_cast<std::uint64_t>(i)), 0.0346f);
    for (float& v : row) v = random();
    data.set_row(i / t.rows, i % t.rows, row.data());
  }
}

/// Fills a router so that the logit of expert e is channel first + e of its input.
/// Test: tests/unit/benchmark/register_test.cpp
template <class Tensor>
void fill_router(tensor const& t, Tensor& data, std::int64_t first) {
  std::vector<float> row(static_cast<std::size_t>(t.cols));
  for (std::int64_t e = 0; e < t.rows; ++e) {
    std::fill(row.begin(), row.end(), 0.0f);
    row[static_cast<std::size_t>(first + e)] = 1;
    data.set_row(0, e, row.data());
  }
}

/// Fills a model, a layer, or any other type with for_each_tensor.
/// Test: tests/unit/benchmark/probe_test.cpp
template <class Model>
void fill(Model& m) {
  m.for_each_tensor([](int layer, std::string_view part, tensor const& t, auto& data) {
    fill(t, data,
         plait::detail::mix(plait::detail::mix(static_cast<std::uint64_t>(layer) + 2, part),
                            std::string_view(t.name)));
  });
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
