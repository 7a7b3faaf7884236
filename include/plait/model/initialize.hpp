// Random weights with the distributions of the published code.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN

namespace detail {
/// Vigna's splitmix64: a small generator that starts from any state.
struct splitmix64 {
  std::uint64_t state;
  constexpr std::uint64_t operator()() {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Uniform in (0, 1].
  constexpr double uniform() { return (static_cast<double>((*this)() >> 11) + 1) * 0x1p-53; }
};

constexpr std::uint64_t mix(std::uint64_t seed, std::uint64_t value) {
  return splitmix64{seed ^ (value * 0xd6e8feb86659fd93u)}();
}
constexpr std::uint64_t mix(std::uint64_t seed, std::string_view text) {
  for (char c : text) seed = mix(seed, static_cast<std::uint64_t>(static_cast<unsigned char>(c)));
  return seed;
}

/// A visitor of tensors, of a model or of one component. (With nvcc 13.0 a constraint that contains
/// a lambda fails.)
struct tensor_visitor {
  template <class Tensor>
  void operator()(int, std::string_view, tensor const&, Tensor&) const {}
  template <class Tensor>
  void operator()(tensor const&, Tensor&) const {}
};
}  // namespace detail

/// Fills one allocated tensor by its `start`; row i is drawn from its own stream.
template <class Tensor>
void initialize_tensor(tensor const& t, Tensor& data, std::uint64_t stream, double scale = 0.02) {
  std::vector<float> row(static_cast<std::size_t>(t.cols));
  for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
    detail::splitmix64 random{detail::mix(stream, std::uint64_t(i))};
    for (std::size_t c = 0; c < row.size(); ++c) switch (t.start) {
        case initial::zero:
          row[c] = 0;
          break;
        case initial::one:
          row[c] = 1;
          break;
        case initial::log_index:
          row[c] = std::log(static_cast<float>(c + 1));
          break;
        case initial::normal:  // Box-Muller, two values at a time
          double const radius = scale * std::sqrt(-2 * std::log(random.uniform()));
          double const angle = 2 * std::numbers::pi * random.uniform();
          row[c] = static_cast<float>(radius * std::cos(angle));
          if (c + 1 < row.size()) row[++c] = static_cast<float>(radius * std::sin(angle));
      }
    data.set_row(i / t.rows, i % t.rows, row.data());
  }
}

/// Draws all weights of a model, or of anything else with for_each_tensor (single_layer.hpp). Each
/// row has its own stream, of seed, layer, part, tensor and row, so that the weights are the same
/// for any storage, any precision and any order of visiting.
/// Equation: linear maps, convolutions, router and embedding N(0, scale^2), by Box-Muller, scale
///   0.02 as published; biases 0, that of dt_proj too; norm weights and D 1; A_log log(column + 1)
/// Cost: a logarithm, a root, a sine and a cosine per two values; one thread
/// Source: SplitMix: Steele, Lea and Flood, OOPSLA 2014; splitmix64 is Vigna's
/// Test: tests/unit/model/model_test.cpp
template <class Model>
requires requires(Model& m) { m.for_each_tensor(detail::tensor_visitor{}); }
void initialize(Model& m, std::uint64_t seed, double scale = 0.02) {
  m.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    initialize_tensor(
        t, data,
        detail::mix(detail::mix(detail::mix(seed, static_cast<std::uint64_t>(layer) + 1), part),
                    std::string_view(t.name)),
        scale);
  });
}

/// Allocates and draws the weights of one component (layers/weights.hpp), with the streams of the
/// mixer of layer 0.
template <class Weights>
requires requires(Weights& w) {
  w.allocate();
  w.for_each(detail::tensor_visitor{});
}
void initialize(Weights& w, std::uint64_t seed, double scale = 0.02) {
  w.allocate();
  w.for_each([&](tensor const& t, auto& data) {
    std::uint64_t const stream =
        detail::mix(detail::mix(detail::mix(seed, std::uint64_t{1}), std::string_view("mixer")),
                    std::string_view(t.name));
    initialize_tensor(t, data, stream, scale);
  });
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
