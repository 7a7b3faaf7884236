// Random weights, as the published code draws them, the same for any storage and any order of
// visiting.
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
/// Sebastiano Vigna's splitmix64 (after Steele, Lea and Flood, OOPSLA 2014): a small generator that
/// may be started anywhere.
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

/// What a visitor of tensors looks like, of a model or of one component's weights. (A lambda inside
/// of a constraint fails it in nvcc 13.0.)
struct sees_tensors {
  template <class Tensor>
  void operator()(int, std::string_view, tensor const&, Tensor&) const {}
  template <class Tensor>
  void operator()(tensor const&, Tensor&) const {}
};
}  // namespace detail

/// Fills one allocated tensor as its description says, `scale` for the deviation of normal ones.
/// Row i is drawn from a stream of its own.
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
        case initial::normal:  // Box and Muller, a pair at a time
          double const radius = scale * std::sqrt(-2 * std::log(random.uniform())),
                       angle = 2 * std::numbers::pi * random.uniform();
          row[c] = static_cast<float>(radius * std::cos(angle));
          if (c + 1 < row.size()) row[++c] = static_cast<float>(radius * std::sin(angle));
      }
    data.set_row(i / t.rows, i % t.rows, row.data());
  }
}

/// Linear maps, convolutions, router and embedding N(0, scale), 0.02 as published; biases 0,
/// dt_proj's too; norm weights and D 1; A_log log(j + 1). Every row is drawn from its own stream,
/// named by seed, layer, part, tensor and row, so that the same weights come out for any storage,
/// any precision and any order of visiting. For a model, or anything else with for_each_tensor
/// (single_layer.hpp).
/// Equation: linear maps, convolutions, router and embedding N(0, scale), by Box and Muller; biases
///   0, norm weights and D 1, A_log log(column + 1). Each row is drawn from its own stream, named
///   by seed, layer, part, tensor and row
/// Errors: none of its own; the second form allocates
/// Cost: a logarithm, a root, a sine and a cosine for two values; one thread
/// Source: the generator is Steele, Lea and Flood's SplitMix (OOPSLA 2014) in Vigna's splitmix64
/// Test: tests/unit/model/model_test.cpp
template <class Model>
requires requires(Model& m) { m.for_each_tensor(detail::sees_tensors{}); }
void initialize(Model& m, std::uint64_t seed, double scale = 0.02) {
  m.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    initialize_tensor(t, data,
                      detail::mix(detail::mix(detail::mix(seed, std::uint64_t(layer + 1)), part),
                                  std::string_view(t.name)),
                      scale);
  });
}

/// The weights of one component (layers/weights.hpp), allocated and drawn as those of a mixer in
/// layer 0.
template <class Weights>
requires requires(Weights& w) {
  w.allocate();
  w.for_each(detail::sees_tensors{});
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
