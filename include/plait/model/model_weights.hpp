// The weights of an architecture: embedding, layers, final norm, head. `model` and
// `reference_model` derive from it.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/layers/layer.hpp>
#include <plait/model/plan.hpp>
#include <plait/policy/check.hpp>

#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The weights of one layer: each sublayer with its norm.
template <auto Norm, class Kind, int D, class Storage>
struct layer_weights {
  static constexpr bool has_mixer =
      !std::is_same_v<std::remove_const_t<decltype(Kind::mixer)>, none>;
  static constexpr bool has_ffn = !std::is_same_v<std::remove_const_t<decltype(Kind::ffn)>, none>;
  plait::weights<Norm, D, Storage> mixer_norm, ffn_norm;
  plait::weights<Kind::mixer, D, Storage> mixer;
  plait::weights<Kind::ffn, D, Storage> ffn;

  /// Calls visit(part, weights) per part that exists: "mixer_norm", "mixer", "ffn_norm", "ffn".
  template <class Visit>
  void for_each(Visit&& visit) {
    if constexpr (has_mixer) {
      visit("mixer_norm", mixer_norm);
      visit("mixer", mixer);
    }
    if constexpr (has_ffn) {
      visit("ffn_norm", ffn_norm);
      visit("ffn", ffn);
    }
  }
};

namespace detail {
/// Naming these types reports every broken rule of every layer.
template <auto C, int K>
struct layer_rules {
  [[no_unique_address]] layer<C.d_model, plan<C>::template kind<K>::mixer> mixer;
  [[no_unique_address]] layer<C.d_model, plan<C>::template kind<K>::ffn> ffn;
};
/// The rules of all slots, for an architecture without layers.
template <auto C, class = std::make_index_sequence<std::tuple_size_v<decltype(C.mixers())>>,
          class = std::make_index_sequence<std::tuple_size_v<decltype(C.ffns())>>>
struct slot_rules;
template <auto C, std::size_t... M, std::size_t... F>
struct slot_rules<C, std::index_sequence<M...>, std::index_sequence<F...>> {
  static constexpr auto mixers = C.mixers();
  static constexpr auto ffns = C.ffns();
  using type =
      std::tuple<layer<C.d_model, std::get<M>(mixers)>..., layer<C.d_model, std::get<F>(ffns)>...>;
};
template <auto C, class Storage, class = std::make_integer_sequence<int, plan<C>::kinds>>
struct kinds_of;
template <auto C, class Storage>
struct kinds_of<C, Storage, std::integer_sequence<int>> {
  using rules = typename slot_rules<C>::type;
  using weights = std::tuple<>;
};
template <auto C, class Storage, int... K>
struct kinds_of<C, Storage, std::integer_sequence<int, K...>> {
  using rules = std::tuple<layer_rules<C, K>...>;
  using weights = std::tuple<std::vector<
      layer_weights<C.norm, typename plan<C>::template kind<K>, C.d_model, Storage>>...>;
};
}  // namespace detail

/// Selects the constructor that allocates no weights, for a loader that allocates each tensor.
struct unallocated {};

/// All weights of architecture C in the tensors of Storage.
/// Shapes: a visitor is visit(layer, part, description, tensor); layer -1 has, with a vocabulary,
///   `"embedding"` (unless tied), `"head"` (both [vocab_size, d_model]) and `"final_norm"`; a layer
///   has `"mixer_norm"`, `"mixer"`, `"ffn_norm"` and `"ffn"`, unless the slot is empty
/// Errors: instantiating the type asserts the rules of all layers and slots (layers/); at run time
///   those of core/buffer.hpp
/// Cost: the constructor allocates and zeroes everything: `weight_bytes` of policy/count.hpp, and
///   the padding of the last panels; a state tensor is stored twice
/// Test: tests/unit/model/model_test.cpp, tests/checks/compile_fail/rules.cpp,
///   tests/unit/io/golden_test.cpp
template <auto C, class Storage>
class model_weights {
  // Naming the rules reports all that are broken; derived classes name those between components. As
  // members, or both in one place, they make this class invalid to clang, which then reports each
  // of its uses.
  static_assert(sizeof(typename detail::kinds_of<C, Storage>::rules) > 0);

 public:
  static constexpr auto config = C;
  // clang 14 reads wrong members of a class-type template argument at run time; constexpr copies
  // prevent it.
  static constexpr bool has_vocabulary = C.vocab_size != no_vocabulary;
  static constexpr std::int64_t d_model = C.d_model;
  static constexpr std::int64_t vocab_size = has_vocabulary ? C.vocab_size : 0;
  static constexpr bool tied = C.tie_embeddings;
  static constexpr layer_settings settings = [] {
    layer_settings s{.norm_eps = C.norm_eps};
    if constexpr (requires { C.rope_theta; }) s.rope_theta = C.rope_theta;
    return s;
  }();

  /// All tensors allocated and zero.
  model_weights() : model_weights(unallocated{}) {
    if constexpr (has_vocabulary) {
      tensor const table{.name = "embedding", .rows = vocab_size, .cols = d_model};
      if constexpr (!tied) embedding_.allocate(table);
      head_.allocate(table);
      final_norm_.allocate();
    }
    for_each_kind([&](auto k) {
      for (auto& l : std::get<k>(layers_)) l.for_each([](char const*, auto& w) { w.allocate(); });
    });
  }
  /// All tensors empty.
  explicit model_weights(unallocated) {
    for_each_kind([&](auto k) {
      auto& layers = std::get<k>(layers_);
      layers = std::remove_cvref_t<decltype(layers)>(
          std::size_t(plan<C>::layers_of_kind(k)));  // resize would instantiate moves
    });
  }

  /// Calls visit(layer, part, description, tensor) per tensor, layer -1 first. Loading, saving and
  /// initialization consist of it.
  template <class Visit>
  void for_each_tensor(Visit&& visit) {
    if constexpr (has_vocabulary) {
      tensor const table{.name = "weight", .rows = vocab_size, .cols = d_model};
      if constexpr (!tied) visit(-1, "embedding", table, embedding_);
      visit(-1, "head", table, head_);
      final_norm_.for_each([&](tensor const& t, auto& data) { visit(-1, "final_norm", t, data); });
    }
    for (int i = 0; i < plan<C>::layers; ++i)
      at_layer(i, [&](auto, auto& w) {
        w.for_each([&](char const* part, auto& weights) {
          weights.for_each([&](tensor const& t, auto& data) { visit(i, part, t, data); });
        });
      });
  }

  template <class Visit>
  void for_each_tensor(Visit&& visit) const {
    const_cast<model_weights*>(this)->for_each_tensor(
        [&](int layer, char const* part, tensor const& t, auto const& data) {
          visit(layer, part, t, data);
        });
  }

  /// Calls visit(layer, part, description) per tensor, without a model.
  template <class Visit>
  static void describe_tensors(Visit&& visit) {
    auto const component = [&](int layer, char const* part, auto const& policy) {
      describe(policy, int(d_model), [&](tensor const& t) { visit(layer, part, t); });
    };
    static constexpr auto norm = C.norm;
    if constexpr (has_vocabulary) {
      tensor const table{.name = "weight", .rows = vocab_size, .cols = d_model};
      if constexpr (!tied) visit(-1, "embedding", table);
      visit(-1, "head", table);
      component(-1, "final_norm", norm);
    }
    for (int i = 0; i < plan<C>::layers; ++i)
      visit_layer(config, i, [&]<class Mixer, class Ffn>(Mixer const& mixer, Ffn const& ffn) {
        if constexpr (!std::is_same_v<Mixer, none>) {
          component(i, "mixer_norm", norm);
          component(i, "mixer", mixer);
        }
        if constexpr (!std::is_same_v<Ffn, none>) {
          component(i, "ffn_norm", norm);
          component(i, "ffn", ffn);
        }
      });
  }

  /// The table of embeddings: the head, where they are tied.
  auto const& embedding() const {
    if constexpr (tied)
      return head_;
    else
      return embedding_;
  }
  auto const& head() const { return head_; }
  auto const& final_norm() const { return final_norm_; }

  template <class Visit>
  static constexpr void for_each_kind(Visit&& visit) {
    [&]<int... K>(std::integer_sequence<int, K...>) {
      (visit(std::integral_constant<int, K>{}), ...);
    }
    (std::make_integer_sequence<int, plan<C>::kinds>{});
  }
  /// Calls visit(kind, weights) for layer i; the kind is an integral_constant.
  template <class Visit>
  void at_layer(int i, Visit&& visit) {
    for_each_kind([&](auto k) {
      if (layer_place const& p = plan<C>::places[std::size_t(i)]; p.kind == k)
        visit(k, std::get<k>(layers_)[std::size_t(p.index)]);
    });
  }
  template <class Visit>
  void at_layer(int i, Visit&& visit) const {
    const_cast<model_weights*>(this)->at_layer(i, [&](auto k, auto const& w) { visit(k, w); });
  }

 private:
  typename Storage::table embedding_;  // empty where tied
  typename Storage::template tensor<role::matrix> head_;
  weights<C.norm, int(d_model), Storage> final_norm_;
  typename detail::kinds_of<C, Storage>::weights layers_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
