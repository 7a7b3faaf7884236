// One layer of a released model at its full width: weights from a seed, and plain loops in double
// that read the layer's own weights row by row, without a second copy.
#pragma once

#include <support/data.hpp>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

namespace test::full_width {

using doubles = test::matrix<double>;

/// Fills a layer's tensors so that order-1 inputs give order-1 values everywhere: linear maps are
/// uniform with variance 1 / columns, norm weights and D in [0.5, 1.5], time steps and decays from
/// slow to fast, other biases and the convolution's taps in [-0.5, 0.5]. Every row has a stream of
/// its own, seeded by seed, tensor and row. (model/initialize.hpp draws normals, ten times slower,
/// and leaves norm weights at one and biases at zero, where a mistake does not show.)
template <class Weights>
void fill(Weights& weights, std::uint64_t seed) {
  weights.for_each([&](plait::tensor const& t, auto& data) {
    std::string_view const name = t.name;
    bool const vector = t.role == plait::role::vector;
    double low = -0.5, high = 0.5;
    if (name == "dt_proj.bias") {
      low = -4;
      high = 0;
    } else if (t.role == plait::role::state) {
      low = -2;
      high = 2.8;
    } else if (vector && (name == "D" || name.ends_with("norm"))) {
      low = 0.5;
      high = 1.5;
    } else if (!vector) {
      high = std::sqrt(3.0 / double(t.cols));
      low = -high;
    }
    std::vector<float> row(static_cast<std::size_t>(t.cols));
    for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
      plait::detail::splitmix64 bits{
          plait::detail::mix(plait::detail::mix(seed, name), std::uint64_t(i))};
      for (float& value : row)
        value = static_cast<float>(low + (high - low) * (double(bits() >> 40) + 0.5) * 0x1p-24);
      data.set_row(i / t.rows, i % t.rows, row.data());
    }
  });
}

inline std::vector<std::int64_t> all(std::int64_t n) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}
/// `count` of the rows 0 .. n - 1, spread evenly, the first and the last among them.
inline std::vector<std::int64_t> spread(std::int64_t n, std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(i * (n - 1) / (count - 1));
  return rows;
}

/// y[t, i] = w[copy, rows[i]] x[t]
template <class Tensor>
doubles product(doubles const& x, Tensor const& w, std::vector<std::int64_t> const& rows,
                std::int64_t copy = 0) {
  doubles y(x.rows(), static_cast<std::int64_t>(rows.size()));
  std::vector<float> weights(static_cast<std::size_t>(w.cols()));
  for (std::int64_t i = 0; i < y.cols(); ++i) {
    w.get_row(copy, rows[static_cast<std::size_t>(i)], weights.data());
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      double const* const in = x.view().row(t);
      double sum = 0;
      for (std::int64_t c = 0; c < x.cols(); ++c)
        sum += double(weights[static_cast<std::size_t>(c)]) * in[c];
      y(t, i) = sum;
    }
  }
  return y;
}

inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// silu(gate x) * up x of expert `copy`, then the chosen rows of down.
template <class Weights>
doubles swiglu(doubles const& x, Weights const& w, std::vector<std::int64_t> const& outputs,
               std::int64_t copy = 0) {
  auto const hidden = all(w.template get<"gate_proj">().rows());
  doubles gate = product(x, w.template get<"gate_proj">(), hidden, copy),
          up = product(x, w.template get<"up_proj">(), hidden, copy);
  for (std::int64_t t = 0; t < x.rows(); ++t)
    for (std::int64_t c = 0; c < gate.cols(); ++c) gate(t, c) = silu(gate(t, c)) * up(t, c);
  return product(gate, w.template get<"down_proj">(), outputs, copy);
}

inline doubles chosen(test::matrix<float> const& y, std::vector<std::int64_t> const& columns) {
  doubles out(y.rows(), static_cast<std::int64_t>(columns.size()));
  for (std::int64_t t = 0; t < y.rows(); ++t)
    for (std::int64_t i = 0; i < out.cols(); ++i)
      out(t, i) = y(t, columns[static_cast<std::size_t>(i)]);
  return out;
}

/// The output of one call with all tokens; an empty matrix unless two calls, of three fifths of the
/// tokens and of the rest, give the same bits.
template <class Layer>
test::matrix<float> forward_split(Layer& layer, test::matrix<float> const& x) {
  typename Layer::exec_type exec;
  layer.reserve(exec, x.rows(), x.rows());
  test::matrix<float> split(x.rows(), Layer::d_model), whole(x.rows(), Layer::d_model);
  std::int64_t const first = x.rows() * 3 / 5;
  auto const call = [&](auto&&... sequence) {
    return [&](test::matrix<float>& y, std::int64_t from, std::int64_t n) {
      layer.forward(exec, sequence..., x.view().middle_rows(from, n),
                    y.view().middle_rows(from, n));
    };
  };
  auto const both = [&](auto const& in_parts, auto const& at_once) {
    in_parts(split, 0, first);
    in_parts(split, first, x.rows() - first);
    at_once(whole, 0, x.rows());
  };
  if constexpr (Layer::is_mixer) {
    auto one = layer.make(), other = layer.make();
    one.reserve(x.rows());
    other.reserve(x.rows());
    both(call(one), call(other));
  } else {
    both(call(), call());
  }
  return split.intact() && test::same_bits(split, whole) ? split : test::matrix<float>(0, 0);
}

}  // namespace test::full_width
