// The vocabulary of `describe`: one list of tensors a policy, from which counts, weights, loading,
// packing, initialization and checkpoint names are all derived; and what a policy may
// say of itself.
#pragma once

#include <plait/core/prologue.hpp>

#include <cstdint>
#include <string_view>

namespace plait {

/// What a tensor is for; a storage decides by role how to keep it.
enum class role : unsigned char {
  vector,  ///< `rows` channels with `cols` values each: norms, biases, D, convolution taps. Always
           ///< f32.
  matrix,  ///< a linear map, [out, in]
  expert,  ///< `copies` linear maps, one an expert
  router,  ///< a small linear map whose result decides where tokens go. Always f32.
  state,   ///< the logarithm of a state matrix: A = -exp(A_log), [d_inner, d_state]. Always f32.
};

/// How `initialize` fills a tensor, as the published code does.
enum class initial : unsigned char {
  normal,     ///< N(0, 0.02)
  zero,       ///< biases
  one,        ///< norm weights, D
  log_index,  ///< log(column + 1): A_log
};

/// One entry of `describe`: shape [copies][rows][cols].
///
/// What a policy may say, all found beside it by argument-dependent lookup:
///
/// - `describe(policy, d_model, visit)`: calls visit(tensor{...}) once a tensor; default must be
///   there
/// - `state_values(policy, d_model)`: values a sequence carries between calls, whatever its length;
///   default 0
/// - `kv_values(policy, d_model)`: values a sequence keeps for every token; default 0
/// - `active_parameters(policy, d_model)`: parameters one token uses; default all
/// - `extra_flops(policy, d_model, context)`: operations a token beyond its linear maps; default 0
/// - `rotates(policy)`: whether it reads the architecture's rope_theta; default false
/// - `checkpoint_name(policy)`: what its tensors are found under in a file, and its name in a
///   config.json of plait's own type; default "mixer", "ffn" or "norm"
/// - `hyperparameters(policy, d_model, visit)`: calls visit("name", value) once a hyperparameter:
/// an integer, a bool, a
///   float, or an enumerator's name as text; what follows from others is resolved. They are written
///   to such a config.json and compared with it; default none
///
/// Equation: initial::normal is N(0, 0.02), log_index log(column + 1)
/// Shapes: a tensor is [copies][rows][cols], a linear map [out, in]. role::vector, router and state
///   are f32 in every precision
/// Test: tests/unit/layers/weights_test.cpp, tests/unit/policy/policy_test.cpp
struct tensor {
  char const* name = "";
  plait::role role = role::matrix;
  std::int64_t rows = 0, cols = 1, copies = 1;
  plait::initial start = initial::normal;
  constexpr std::int64_t size() const { return rows * cols * copies; }
};

namespace policies {

/// Values of all tensors.
template <class Policy>
constexpr std::int64_t parameters(Policy const& p, int d_model) {
  std::int64_t n = 0;
  describe(p, d_model, [&](tensor const& t) { n += t.size(); });
  return n;
}
/// active_parameters, or all.
template <class Policy>
constexpr std::int64_t active(Policy const& p, int d_model) {
  if constexpr (requires { active_parameters(p, d_model); })
    return active_parameters(p, d_model);
  else
    return parameters(p, d_model);
}
/// state_values, or 0.
template <class Policy>
constexpr std::int64_t state(Policy const& p, int d_model) {
  if constexpr (requires { state_values(p, d_model); })
    return state_values(p, d_model);
  else
    return 0;
}
/// kv_values, or 0.
template <class Policy>
constexpr std::int64_t kv(Policy const& p, int d_model) {
  if constexpr (requires { kv_values(p, d_model); })
    return kv_values(p, d_model);
  else
    return 0;
}
/// extra_flops, or 0.
template <class Policy>
constexpr std::int64_t flops_beyond_products(Policy const& p, int d_model, std::int64_t context) {
  if constexpr (requires { extra_flops(p, d_model, context); })
    return extra_flops(p, d_model, context);
  else
    return 0;
}
/// rotates, or false.
template <class Policy>
constexpr bool rotary(Policy const& p) {
  if constexpr (requires { rotates(p); })
    return rotates(p);
  else
    return false;
}
/// checkpoint_name, or another.
template <class Policy>
constexpr char const* name_in_checkpoint(Policy const& p, char const* otherwise) {
  if constexpr (requires { checkpoint_name(p); })
    return checkpoint_name(p);
  else
    return otherwise;
}
/// Calls hyperparameters where there are some.
template <class Policy, class Visit>
constexpr void visit_hyperparameters(Policy const& p, int d_model, Visit&& visit) {
  if constexpr (requires { hyperparameters(p, d_model, visit); })
    hyperparameters(p, d_model, visit);
}
/// Experts a token visits, as far as the policy routes at all.
template <class Policy>
constexpr int experts_chosen(Policy const& p) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                })
    return p.top_k;
  else
    return 0;
}

}  // namespace policies
}  // namespace plait

#include <plait/core/epilogue.hpp>
