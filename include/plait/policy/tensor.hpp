// The functions of a policy: `describe`, the list of its tensors, and optional ones. Counts,
// weights, loading, packing, initialization and checkpoint names are derived from `describe`.
#pragma once

#include <plait/core/prologue.hpp>

#include <cstdint>
#include <string_view>

namespace plait {

/// The role of a tensor, by which a storage selects its type.
enum class role : unsigned char {
  vector,  ///< `rows` channels with `cols` values each: norms, biases, D, convolution taps; f32
  matrix,  ///< a linear map, [out, in]
  expert,  ///< `copies` linear maps, one per expert
  router,  ///< a small linear map whose result selects the experts; f32
  state,   ///< the logarithm of a state matrix: A = -exp(A_log), [d_inner, d_state]; f32
};

/// The initial values of a tensor (model/initialize.hpp), those of the published code.
enum class initial : unsigned char {
  normal,     ///< normal, mean 0, standard deviation 0.02
  zero,       ///< biases
  one,        ///< norm weights, D
  log_index,  ///< log(column + 1): A_log
};

/// One entry of `describe`. The functions of a policy are found by argument-dependent lookup:
///
/// - `describe(policy, d_model, visit)`: calls visit(tensor{...}) once per tensor; required
/// - `state_values(policy, d_model)`: values that a sequence carries between calls, for any length;
///   default 0
/// - `kv_values(policy, d_model)`: values that a sequence keeps per token; default 0
/// - `active_parameters(policy, d_model)`: parameters that one token uses; default all
/// - `extra_flops(policy, d_model, context)`: operations per token beyond its linear maps; default
///   0
/// - `rotates(policy)`: whether the policy needs the architecture's rope_theta; default false
/// - `checkpoint_name(policy)`: the name of the policy's tensors in a checkpoint, and of the policy
///   in a config.json of model type plait; default "mixer", "ffn" or "norm"
/// - `hyperparameters(policy, d_model, visit)`: calls visit("name", value) once per hyperparameter,
///   the value an integer, a bool, a float, or an enumerator's name as text; a default that is
///   derived from other hyperparameters is resolved. They are written to that config.json and
///   compared with it; default none
///
/// Shapes: [copies][rows][cols]; `copies` is the number of experts for an expert tensor, else 1
/// Test: tests/unit/layers/weights_test.cpp, tests/unit/policy/policy_test.cpp
struct tensor {
  char const* name = "";
  plait::role role = role::matrix;
  std::int64_t rows = 0;
  std::int64_t cols = 1;
  std::int64_t copies = 1;
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
/// active_parameters, or all parameters.
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
/// checkpoint_name, or `otherwise`.
template <class Policy>
constexpr char const* name_in_checkpoint(Policy const& p, char const* otherwise) {
  if constexpr (requires { checkpoint_name(p); })
    return checkpoint_name(p);
  else
    return otherwise;
}
/// hyperparameters, or nothing.
template <class Policy, class Visit>
constexpr void visit_hyperparameters(Policy const& p, int d_model, Visit&& visit) {
  if constexpr (requires { hyperparameters(p, d_model, visit); })
    hyperparameters(p, d_model, visit);
}
/// Experts per token; 0 where the policy does not route.
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
