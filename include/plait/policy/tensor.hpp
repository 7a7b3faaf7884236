// The vocabulary of `describe`: one list of tensors a policy, from which counts, weights, loading, packing, initialization and
// checkpoint names are all derived.
#pragma once

#include <plait/core/prologue.hpp>

#include <cstdint>
#include <string_view>

namespace plait {

/// What a tensor is for; a storage decides by role how to keep it.
enum class role : unsigned char {
  vector,  ///< `rows` channels with `cols` values each: norms, biases, D, convolution taps. Always f32.
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
struct tensor {
  char const* name = "";
  plait::role role = role::matrix;
  std::int64_t rows = 0, cols = 1, copies = 1;
  plait::initial start = initial::normal;
  constexpr std::int64_t size() const { return rows * cols * copies; }
};

// ---- What a policy says of itself. All are found by argument-dependent lookup beside the policy; those with a default below are optional.
//   describe(policy, d_model, visit)           every tensor once, as visit(tensor{...})
//   state_values(policy, d_model)              f32 values one sequence carries between calls, whatever its length  (default 0)
//   kv_values(policy, d_model)                 values one sequence keeps for every token                          (default 0)
//   active_parameters(policy, d_model)         parameters one token uses                                          (default: all)
//   extra_flops(policy, d_model, context)      operations a token beyond its linear maps, `context` keys seen      (default 0)
//   rotates(policy)                            whether it reads the architecture's rope_theta                     (default false)
//   checkpoint_name(policy)                    what its tensors are found under in a file        (default: "mixer", "ffn" or "norm")
//   knobs(policy, d_model, visit)              every knob once, as visit("name", value): an integer, a bool, a float, or the name of an
//                                              enumerator; what follows from others is resolved. A checkpoint of plait's own type lists
//                                              them and is compared with them; a missing one is that of Policy{}          (default: none)

namespace policies {

template <class Policy>
constexpr std::int64_t parameters(Policy const& p, int d_model) {
  std::int64_t n = 0;
  describe(p, d_model, [&](tensor const& t) { n += t.size(); });
  return n;
}
template <class Policy>
constexpr std::int64_t active(Policy const& p, int d_model) {
  if constexpr (requires { active_parameters(p, d_model); }) return active_parameters(p, d_model);
  else return parameters(p, d_model);
}
template <class Policy>
constexpr std::int64_t state(Policy const& p, int d_model) {
  if constexpr (requires { state_values(p, d_model); }) return state_values(p, d_model);
  else return 0;
}
template <class Policy>
constexpr std::int64_t kv(Policy const& p, int d_model) {
  if constexpr (requires { kv_values(p, d_model); }) return kv_values(p, d_model);
  else return 0;
}
template <class Policy>
constexpr std::int64_t flops_beyond_products(Policy const& p, int d_model, std::int64_t context) {
  if constexpr (requires { extra_flops(p, d_model, context); }) return extra_flops(p, d_model, context);
  else return 0;
}
template <class Policy>
constexpr bool rotary(Policy const& p) {
  if constexpr (requires { rotates(p); }) return rotates(p);
  else return false;
}
template <class Policy>
constexpr char const* name_in_checkpoint(Policy const& p, char const* otherwise) {
  if constexpr (requires { checkpoint_name(p); }) return checkpoint_name(p);
  else return otherwise;
}
template <class Policy, class Visit>
constexpr void visit_knobs(Policy const& p, int d_model, Visit&& visit) {
  if constexpr (requires { knobs(p, d_model, visit); }) knobs(p, d_model, visit);
}
/// Experts a token visits, as far as the policy routes at all.
template <class Policy>
constexpr int experts_chosen(Policy const& p) {
  if constexpr (requires {
                  p.top_k;
                  p.num_experts;
                })
    return p.top_k;
  else return 0;
}

}  // namespace policies
}  // namespace plait

#include <plait/core/epilogue.hpp>
