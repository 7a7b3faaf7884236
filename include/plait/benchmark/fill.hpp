// Inputs and weights that cost little to make: ordinary numbers, the same for any element type and
// any storage.
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

/// A fast stream of numbers, uniform in (-scale, scale): a linear congruential generator with
/// Knuth's multiplier and increment.
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

/// An owned matrix [rows, cols]. Given a seed, row r is drawn from the stream of row first + r: the
/// same values in any element type and whichever rows are there. Without one it is zero.
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
  std::int64_t rows_, cols_;
  buffer<T> data_;
};

/// Fills an allocated tensor: uniform numbers of the published deviation, 0.02, where the
/// description says normal, else what it says.
/// Equation: uniform in (-scale, scale), by x <- 1664525 x + 1013904223 mod 2^32; weights of
///   deviation 0.02 where they are described as normal
/// Shapes: `matrix(rows, cols, seed, first)`: row r is that of stream first + r, the same values in
///   any T and whatever rows are there; zeros without a seed
/// Errors: those of core/buffer.hpp
/// Cost: about a nanosecond a value
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

/// Fills a router so that the logit of expert e is channel first + e of what it is given.
template <class Tensor>
void fill_router(tensor const& t, Tensor& data, std::int64_t first) {
  std::vector<float> row(static_cast<std::size_t>(t.cols));
  for (std::int64_t e = 0; e < t.rows; ++e) {
    std::fill(row.begin(), row.end(), 0.0f);
    row[static_cast<std::size_t>(first + e)] = 1;
    data.set_row(0, e, row.data());
  }
}

/// Fills a model, or anything else with for_each_tensor.
template <class Model>
void fill(Model& m) {
  m.for_each_tensor([](int layer, std::string_view part, tensor const& t, auto& data) {
    fill(t, data,
         plait::detail::mix(plait::detail::mix(static_cast<std::uint64_t>(layer + 2), part),
                            std::string_view(t.name)));
  });
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
