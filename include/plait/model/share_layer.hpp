// Layers that use the same weights.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/model/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// Makes layer `to` of a model use the weights of layer `from`, which must be of the same kind: its
/// linear maps are read where `from` has them, and take no memory any more (cpu/panel_matrix.hpp);
/// the small tensors, and those of a storage that cannot share, are copied. State and cache stay
/// each layer's own. Sharing layers is an architecture of its own (Lan et al., ALBERT,
/// arXiv:1909.11942; Zamba, arXiv:2405.16712), and a way to time a model that is larger than the
/// machine.
///
/// plait::error unless both are layers, different ones, of one kind: then nothing has changed.
/// Afterwards weights of `to` cannot be set.
///
/// Setting a weight of `to` afterwards is an error of core/buffer.hpp. `benchmarks/released.cpp`
/// runs Jamba v0.1 this way in 24 GB.
/// Equation: layer `to` computes with the weights of layer `from`; linear maps are read where
///   `from` has them, small tensors are copied
/// Shapes: both layers are of the same kind (mixer, feed-forward and their hyperparameters)
/// Cost: memory of `to`'s linear maps is given back; nothing where the storage is not packed but a
///   copy
/// Source: Lan et al., ALBERT, arXiv:1909.11942; Glorioso et al., Zamba, arXiv:2405.16712
/// Test: tests/unit/model/share_layer_test.cpp
template <class Model>
void share_layer(Model& model, int from, int to) {
  static constexpr auto config = Model::config;
  using layers = plan<config>;
  auto const named = [&] {
    return "share_layer: layers " + std::to_string(from) + " and " + std::to_string(to);
  };
  if (from < 0 || to < 0 || from >= layers::layers || to >= layers::layers || from == to)
    throw error(named() + "; expected two different ones of " + std::to_string(layers::layers));
  if (layers::places[std::size_t(from)].kind != layers::places[std::size_t(to)].kind)
    throw error(named() + " are of different kinds, so that their weights have different shapes");
  std::vector<void const*> sources;  // layers of a kind have the same tensors in the same order
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
