// How a policy finds its layer, and what every layer is given.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/core/view.hpp>
#include <plait/layers/weights.hpp>
#include <plait/policy/none.hpp>

#include <type_traits>

PLAIT_NAMESPACE_BEGIN

/// Policy type -> layer. The one line a component of your own needs, with a layer template of your
/// own:
///
///   template <> struct plait::layer_of<mine> {
///     template <int D, mine P> using bind = my_layer<D, P>;
///   };
template <class Policy>
struct layer_of {
  static_assert(std::is_void_v<Policy>,
                "plait: no layer is bound to this policy (specialise plait::layer_of for it, or "
                "include <plait/plait.hpp>)");
};

/// The layer of a policy at width D: static functions only; weights and state are passed in. It
/// depends on its own policy and width, nothing else of a model, so that equal layers are compiled
/// once.
///
/// - mixer: `forward(exec, weights, settings, sequences, x, y, see)`, x and y [T, D]; and
///   `continuation continues`
/// - feed-forward: `forward(exec, weights, settings, x, y, see)`
/// - norm: `forward(exec, weights, settings, x, y, out)`: x += y (unless y is empty), out = norm(x)
///
/// y must not overlap x. Layers call ops and never look at a value.
///
/// A component of your own is a policy with `describe`, a class with `forward`, and the line that
/// binds them: `examples/own_mixer.cpp` does it in a hundred lines.
///
/// ```cpp
/// namespace doubling {
/// struct policy {
///   friend constexpr bool operator==(policy const&, policy const&) = default;
/// };
/// template <class Visit>
/// constexpr void describe(policy const&, int, Visit&&) {}  // no weights
///
/// /// y = 2 x
/// template <int D, policy P>
/// struct layer {
///   template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
///   static void forward(Exec& exec, Weights const&, plait::layer_settings const&,
///                       plait::matrix_view<std::type_identity_t<T> const> x,
///                       plait::matrix_view<std::type_identity_t<T>> y, Observer&&) {
///     exec.parallel(x.rows(), [&](std::int64_t t, int) {
///       for (std::int64_t c = 0; c < D; ++c) y(t, c) = 2 * x(t, c);
///     });
///   }
/// };
/// }  // namespace doubling
///
/// template <>
/// struct plait::layer_of<doubling::policy> {
///   template <int D, doubling::policy P>
///   using bind = doubling::layer<D, P>;
/// };
/// ```
/// Shapes: a mixer's is forward(exec, weights, settings, sequences, x, y, see), a feed-forward's
///   forward(exec, weights, settings, x, y, see), a norm's forward(exec, weights, settings, x, y,
///   out)
/// Cost: a layer is compiled once for all models that share its policy and width
/// Test: tests/unit/layers/layer_test.cpp, tests/checks/compile_fail/misuse.cpp,
/// tests/unit/model/stack_test.cpp
template <int D, auto Policy>
using layer = typename layer_of<std::remove_cvref_t<decltype(Policy)>>::template bind<D, Policy>;

/// The reals of an architecture: they travel at run time, so that they multiply no instantiations.
struct layer_settings {
  float norm_eps = 1e-6f;
  float rope_theta = 10000.0f;
};

/// What becomes of a sequence whose tokens come in several calls, said by each mixer.
enum class continuation : unsigned char {
  bitwise,   ///< the same bits as in one call
  rounding,  ///< the same up to rounding
  none,      ///< not possible, as later tokens change earlier results: a sequence is one call, and
             ///< forward refuses a second
};

/// The mixer of a layer without one continues as you like.
template <int D, auto Policy>
constexpr continuation continues() {
  if constexpr (std::is_same_v<std::remove_cvref_t<decltype(Policy)>, none>) {
    return continuation::bitwise;
  } else {
    constexpr bool said = requires { layer<D, Policy>::continues; };
    static_assert(said,
                  "plait: a mixer says what becomes of a sequence in several calls: static "
                  "constexpr plait::continuation continues");
    if constexpr (said)
      return layer<D, Policy>::continues;
    else
      return continuation::bitwise;
  }
}

/// Sees nothing, costs nothing.
struct no_observer {
  template <class View>
  void operator()(char const*, View const&) const {}
};

/// The layer of an empty slot.
struct no_layer {};
template <>
struct layer_of<none> {
  template <int D, none>
  using bind = no_layer;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
