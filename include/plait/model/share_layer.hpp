// Shared weights: one layer computes with the weights of another.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/model/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// Makes layer `to` of a model compute with the weights of layer `from`. State and cache stay those
/// of each layer. Architectures share layers so; it also runs a model that is larger than the
/// machine: `benchmarks/released.cpp` runs Jamba v0.1 in 24 GB.
/// Shapes: both layers are of one kind (mixer, feed-forward and their hyperparameters)
/// Errors: after an error nothing has changed. Setting a weight of `to` later is an error of
///   core/buffer.hpp
/// Cost: linear maps of `to` that the storage can share are released (cpu/panel_matrix.hpp); the
///   other tensors are copied
/// Source: Lan et al., ALBERT, arXiv:1909.11942; Glorioso et al., Zamba, arXiv:2405.16712
/// Test: tests/unit/model/share_layer_test.cpp
template <class Model>
void share_layer(Model& model, int from, int to) {
  static constexpr auto config = Model::config;
  using layers = plan<config>;
  if (from < 0 || to < 0 || from >= layers::layers || to >= layers::layers || from == to)
    throw error(sentence("share_layer: layers {} and {}; expected two different ones of {}", from,
                         to, layers::layers));
  if (layers::places[std::size_t(from)].kind != layers::places[std::size_t(to)].kind)
    throw error(
        sentence("share_layer: layers {} and {} are of different kinds, so that their weights have "
                 "different shapes",
                 from, to));
  std::vector<void const*> sources;  // layers of one kind have the same tensors in the same order
  model.at_layer(from, [&](auto, auto& w) {
    w.for_each([&](char const*, auto& part) {
      part.for_each([&](tensor const&, auto& data) { sources.push_back(&data); });
    });
  });
  std::size_t next = 0;
  model.at_layer(to, [&](auto, auto& w) {
    w.for_each([&](char const*, auto& part) {
      part.for_each([&]<class Tensor>(tensor const& t, Tensor& data) {
        auto const& source = *static_cast<Tensor const*>(sources[next++]);
        if constexpr (requires { data.share(source); }) {
          data.share(source);
        } else {
          std::vector<float> row(static_cast<std::size_t>(t.cols));
          for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
            source.get_row(i / t.rows, i % t.rows, row.data());
            data.set_row(i / t.rows, i % t.rows, row.data());
          }
        }
      });
    });
  });
}

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
