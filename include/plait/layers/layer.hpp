// The protocol of layers: the binding of a policy to its layer, and the arguments of every layer.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/core/view.hpp>
#include <plait/layers/weights.hpp>
#include <plait/policy/none.hpp>

#include <type_traits>

PLAIT_NAMESPACE_BEGIN

/// The binding of a policy type to its layer; a component of your own specialises it (see `layer`).
template <class Policy>
struct layer_of {
  static_assert(std::is_void_v<Policy>,
                "plait: no layer is bound to this policy (specialise plait::layer_of for it, or "
                "include <plait/plait.hpp>)");
};

/// The layer of a policy at width D: static functions, to which weights and state are passed.
///
/// - mixer: `forward(exec, weights, settings, sequences, x, y, see)`, and the constant `continues`
///   of type `continuation`
/// - feed-forward: `forward(exec, weights, settings, x, y, see)`
/// - norm: `forward(exec, weights, settings, x, y, out)`: x += y (unless y is empty), out = norm(x)
///
/// `see(name, view)` is the observer. A layer calls ops and reads no value of a tensor, so that its
/// launches depend on shapes alone.
///
/// A component of your own is a policy with `describe`, a class with `forward`, and a
/// specialisation of `layer_of`: `examples/own_mixer.cpp` has one in a hundred lines.
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
/// Shapes: x, y and out [T, D]; y must not overlap x
/// Cost: a layer depends on its policy and width alone and is compiled once for all models that
///   share them
/// Test: tests/unit/layers/layer_test.cpp, tests/checks/compile_fail/misuse.cpp,
///   tests/unit/model/stack_test.cpp
template <int D, auto Policy>
using layer = typename layer_of<std::remove_cvref_t<decltype(Policy)>>::template bind<D, Policy>;

/// The reals of an architecture: run-time values, so that they multiply no instantiations.
struct layer_settings {
  float norm_eps = 1e-6f;
  float rope_theta = 10000.0f;
};

/// Chunked-prefill guarantee of a mixer: the result of a sequence in several calls, compared with
/// that in one call.
enum class continuation : unsigned char {
  bitwise,   ///< the same bits
  rounding,  ///< equal up to rounding
  none,      ///< later tokens change earlier results: forward refuses a second call
};

/// Chunked-prefill guarantee of a policy's mixer; `bitwise` where the slot is empty.
template <int D, auto Policy>
constexpr continuation continues() {
  if constexpr (std::is_same_v<std::remove_cvref_t<decltype(Policy)>, none>) {
    return continuation::bitwise;
  } else {
    constexpr bool declared = requires { layer<D, Policy>::continues; };
    static_assert(declared,
                  "plait: a mixer declares its chunked-prefill guarantee: static constexpr "
                  "plait::continuation continues");
    if constexpr (declared)
      return layer<D, Policy>::continues;
    else
      return continuation::bitwise;
  }
}

/// The default observer, which compiles to nothing.
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
