// The composition: which component sits in which slot, and the hyperparameters of each.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/interleave.hpp>
#include <plait/policy/none.hpp>
#include <plait/policy/norm.hpp>

#include <tuple>
#include <type_traits>

namespace plait {

/// vocab_size of a stack of layers: embeddings go in, the residual stream comes out; no embedding,
/// no final norm, no head.
inline constexpr int no_vocabulary = -1;

/// A hybrid sequence model: types compose, values parameterize. Any slot may be `none`.
///
/// A model never sees `hybrid` itself, only what any architecture offers: d_model, vocab_size,
/// norm, norm_eps, tie_embeddings, mixers() and ffns() as tuples of policies, num_layers(), and for
/// layer i the index of its policy in each. A struct with these members (more than two mixers, a
/// list instead of a pattern) is an architecture as good as this one.
///
/// A model never sees `hybrid` itself, only these members: any struct that has them is an
/// architecture.
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
/// Equation: layer i is the mixer mixers()[mixer_at(i)] and the feed-forward ffns()[ffn_at(i)],
///   each behind a norm and before a residual add; a slot that is `none` has neither
/// Shapes: `d_model` and `vocab_size` are widths in values; `vocab_size = no_vocabulary` is a stack
///   of layers, embeddings in, residual stream out
/// Errors: none here; see check.hpp. `visit_layer` calls nothing where an index is outside its
///   tuple
/// Cost: none at run time: reals travel as values, everything else is a type or a constant
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/policy/policy_test.cpp, tests/checks/package/own_parts/main.cpp for an
/// architecture that is
///   no hybrid
template <class Attention, class Recurrent, class Dense, class Sparse, class Schedule = interleave,
          class Norm = rms_norm>
struct hybrid {
  int d_model = 0, vocab_size = 0;
  Schedule layers{};
  Attention attention{};
  Recurrent recurrent{};
  Dense dense{};
  Sparse sparse{};
  Norm norm{};
  float norm_eps = 1e-6f;   ///< reals stay out of layers' and kernels' template arguments: they
                            ///< travel at run time
  float rope_theta = 0.0f;  ///< base of rotary positions; needed where attention has them
  bool tie_embeddings = false;

  constexpr auto mixers() const { return std::tuple{attention, recurrent}; }
  constexpr auto ffns() const { return std::tuple{dense, sparse}; }
  constexpr int num_layers() const { return layers.layers(); }
  constexpr int mixer_at(int i) const { return layers.mixer_at(i); }
  /// Without a sparse component (n = 1) every layer is dense, and e plays no part.
  constexpr int ffn_at(int i) const { return std::is_same_v<Sparse, none> ? 0 : layers.ffn_at(i); }

  friend constexpr bool operator==(hybrid const&, hybrid const&) = default;
};

/// Calls visit(mixer policy, feed-forward policy) for layer i of any architecture; nothing where an
/// index is outside its tuple.
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
