// The composition of an architecture: the component in each slot, and its hyperparameters.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/interleave.hpp>
#include <plait/policy/none.hpp>
#include <plait/policy/norm.hpp>

#include <tuple>
#include <type_traits>

namespace plait {

/// The vocab_size of a stack of layers, which has no embedding, no final norm and no head:
/// embeddings are its input, the residual stream is its output.
inline constexpr int no_vocabulary = -1;

/// A hybrid sequence model: types compose, values parameterize. Any slot may be `none`.
///
/// An architecture is any struct with the members d_model, vocab_size, norm, norm_eps,
/// tie_embeddings, mixers() and ffns() (tuples of policies), num_layers(), and mixer_at(i) and
/// ffn_at(i), the indices of layer i's policies in the tuples. A model uses no other member, so
/// that an architecture of your own may have more than two mixers, or a list in place of a pattern.
///
/// ```cpp
/// inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::none> small{
///     .d_model = 64,
///     .vocab_size = 256,
///     .layers = {.blocks = 2, .layers_per_block = 4, .attend = 1, .recur = 3},
///     .attention = {.num_heads = 4, .num_kv_heads = 2},
///     .dense = {.d_ff = 160}};
/// static_assert(small.num_layers() == 8 && small.mixer_at(2) == 0 && small.mixer_at(3) == 1);
/// ```
///
/// Equation: layer i: x += mixer(norm(x)), x += ffn(norm(x)) with the mixer mixers()[mixer_at(i)]
///   and the feed-forward ffns()[ffn_at(i)]; a slot that is `none` has no norm and no add
/// Errors: none; check.hpp has the rules
/// Cost: none at run time: everything but the reals is a type or a constant
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp, tests/checks/package/own_parts/main.cpp (an
///   architecture that is not a hybrid)
template <class Attention, class Recurrent, class Dense, class Sparse, class Schedule = interleave,
          class Norm = rms_norm>
struct hybrid {
  int d_model = 0;
  int vocab_size = 0;
  Schedule layers{};
  Attention attention{};
  Recurrent recurrent{};
  Dense dense{};
  Sparse sparse{};
  Norm norm{};
  float norm_eps = 1e-6f;   ///< a real: a run-time value, no template argument of a layer
  float rope_theta = 0.0f;  ///< base of rotary positions
  bool tie_embeddings = false;

  constexpr auto mixers() const { return std::tuple{attention, recurrent}; }
  constexpr auto ffns() const { return std::tuple{dense, sparse}; }
  constexpr int num_layers() const { return layers.layers(); }
  constexpr int mixer_at(int i) const { return layers.mixer_at(i); }
  /// Without a sparse component (n = 1) every layer is dense for any e.
  constexpr int ffn_at(int i) const { return std::is_same_v<Sparse, none> ? 0 : layers.ffn_at(i); }

  friend constexpr bool operator==(hybrid const&, hybrid const&) = default;
};

/// Calls visit(mixer policy, feed-forward policy) for layer i of any architecture; does nothing
/// where an index is outside its tuple.
template <class Architecture, class Visit>
constexpr void visit_layer(Architecture const& c, int i, Visit&& visit) {
  auto const pick = [](auto const& tuple, int index, auto&& then) {
    std::apply(
        [&](auto const&... policy) {
          int k = 0;
          (void)((k++ == index ? (then(policy), true) : false) || ...);
        },
        tuple);
  };
  pick(c.mixers(), c.mixer_at(i), [&](auto const& mixer) {
    pick(c.ffns(), c.ffn_at(i), [&](auto const& ffn) { visit(mixer, ffn); });
  });
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
