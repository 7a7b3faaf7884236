// The plan of an architecture: its kinds of layers, and per layer its kind, weights and state.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/policy/hybrid.hpp>

#include <array>
#include <cstdint>
#include <tuple>

PLAIT_NAMESPACE_BEGIN

/// A kind of layer, a mixer policy and a feed-forward policy. Layers of one kind share all code.
template <auto Mixer, auto Ffn>
struct layer_kind {
  static constexpr auto mixer = Mixer;
  static constexpr auto ffn = Ffn;
};

/// The code, the weights and the state of one layer.
struct layer_place {
  int kind = 0;                   ///< index of its kind in the plan
  int index = 0;                  ///< index among the layers of its kind
  std::int64_t state_offset = 0;  ///< of its part in the recurrent state of a sequence
  std::int64_t page_offset = 0;   ///< of its part in a page
};

/// The plan of architecture C: what a model needs to know of it. Only kinds that occur exist, so
/// that an unused slot may be empty or incomplete.
/// Shapes: offsets in values; `places` has one entry per layer, then the totals
/// Cost: at compile time
/// Test: tests/unit/models/jamba/jamba_test.cpp, tests/unit/model/cache_test.cpp
template <auto C>
struct plan {
 private:
  static constexpr auto mixers = C.mixers();
  static constexpr auto ffns = C.ffns();
  static constexpr int num_ffns =
      static_cast<int>(std::tuple_size_v<std::remove_const_t<decltype(ffns)>>);
  static constexpr int num_pairs =
      static_cast<int>(std::tuple_size_v<std::remove_const_t<decltype(mixers)>>) * num_ffns;
  static constexpr int pair_at(int i) { return C.mixer_at(i) * num_ffns + C.ffn_at(i); }

  static constexpr auto occurs = [] {
    std::array<bool, std::size_t(num_pairs)> found{};
    for (int i = 0; i < C.num_layers(); ++i) found[std::size_t(pair_at(i))] = true;
    return found;
  }();
  static constexpr int kind_of_pair(int pair) {
    int k = 0;
    for (int p = 0; p < pair; ++p) k += occurs[std::size_t(p)];
    return k;
  }
  static constexpr int pair_of_kind(int kind) {
    int p = 0;
    for (int left = kind + 1; p < num_pairs; ++p)
      if (occurs[std::size_t(p)] && --left == 0) break;
    return p;
  }

 public:
  static constexpr int layers = C.num_layers() > 0 ? C.num_layers() : 0;
  static constexpr int kinds = kind_of_pair(num_pairs);

  template <int K>
  using kind = layer_kind<std::get<std::size_t(pair_of_kind(K) / num_ffns)>(mixers),
                          std::get<std::size_t(pair_of_kind(K) % num_ffns)>(ffns)>;

  static constexpr int layers_of_kind(int k) {
    int n = 0;
    for (int i = 0; i < layers; ++i) n += kind_of_pair(pair_at(i)) == k;
    return n;
  }

  static constexpr auto places = [] {
    std::array<layer_place, std::size_t(layers) + 1> all{};
    std::array<int, std::size_t(num_pairs)> seen{};
    for (int i = 0; i < layers; ++i) {
      layer_place& place = all[std::size_t(i)];
      layer_place& next = all[std::size_t(i) + 1];
      place.kind = kind_of_pair(pair_at(i));
      place.index = seen[std::size_t(place.kind)]++;
      next = place;
      visit_layer(C, i, [&](auto const& mixer, auto const&) {
        next.state_offset += policies::state(mixer, C.d_model);
        next.page_offset += policies::kv(mixer, C.d_model) * page_tokens;
      });
    }
    return all;
  }();
  static constexpr std::int64_t state_values = places[std::size_t(layers)].state_offset;
  static constexpr std::int64_t page_values = places[std::size_t(layers)].page_offset;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
