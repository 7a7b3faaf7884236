// The rules of an architecture as a whole, in addition to the rules of each layer. `model` names
// `check<C>`, so that instantiating the model's type reports every broken rule.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/policy/hybrid.hpp>
#include <plait/policy/rule.hpp>

#include <algorithm>

namespace plait {

/// The rules of a schedule; specialise it for a schedule of your own.
template <class Schedule>
struct check_schedule {
  template <Schedule>
  struct rules {};
};

template <>
struct check_schedule<interleave> {
  template <interleave S>
  struct rules {
    PLAIT_RULE(blocks, S.blocks > 0, "plait: a model needs blocks, at least one");
    PLAIT_RULE(layers_per_block, S.layers_per_block > 0,
               "plait: a model needs layers_per_block (l), at least one");
    PLAIT_RULE(period, S.attend >= 0 && S.recur >= 0 && S.attend + S.recur > 0,
               "plait: attend + recur (a + m) must be positive, neither negative");
    PLAIT_RULE(moe_every, S.moe_every >= 0,
               "plait: moe_every (e) must not be negative; 0 means that no layer routes");
    PLAIT_RULE(period_divides, S.blocks <= 1 || S.layers_per_block % std::max(S.period(), 1) == 0,
               "plait: a + m must divide l, the layers per block, in a model of several blocks");
    PLAIT_RULE(moe_divides, S.blocks <= 1 || S.layers_per_block % std::max(S.moe_every, 1) == 0,
               "plait: e must divide l, the layers per block, in a model of several blocks");
    PLAIT_RULE(attend_offset,
               S.attend_offset >= -1 && (S.period() <= 0 || S.attend <= 0 ||
                                         S.first_attention() + S.attend <= S.period()),
               "plait: the attention offset plus a must not exceed a + m");
    PLAIT_RULE(moe_offset, S.moe_offset >= -1 && (S.moe_every <= 0 || S.first_moe() < S.moe_every),
               "plait: the MoE offset must be below e");
  };
};

namespace policies {

/// Whether every layer has a mixer or a feed-forward.
template <class Architecture>
constexpr bool every_layer_has_a_sublayer(Architecture const& c) {
  bool result = true;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(c, i, [&]<class M, class F>(M const&, F const&) {
      result = result && !(std::is_same_v<M, none> && std::is_same_v<F, none>);
    });
  return result;
}

/// Whether rope_theta is positive where a mixer has rotary positions.
template <class Architecture>
constexpr bool rotary_positions_have_a_base(Architecture const& c) {
  bool rotary = false;
  for (int i = 0; i < c.num_layers(); ++i)
    visit_layer(
        c, i, [&](auto const& mixer, auto const&) { rotary = rotary || policies::rotary(mixer); });
  if constexpr (requires { c.rope_theta; })
    return !rotary || c.rope_theta > 0;
  else
    return !rotary;
}

/// The rules of a schedule, as check_schedule states them.
template <auto C>
struct schedule_rules {};  // an architecture without the member `layers`
template <auto C>
requires requires { C.layers; }
struct schedule_rules<C> {
  [[no_unique_address]]
  typename check_schedule<std::remove_const_t<decltype(C.layers)>>::template rules<C.layers>
      rules;
};
}  // namespace policies

/// Static assertions on an architecture, one sentence each. They hold for zeros, too: an omitted
/// hyperparameter is 0.
/// Equation: a model of several blocks needs l mod (a + m) = 0 and l mod e = 0, so that its blocks
///   are equal; a single block may have any l
/// Errors:
///   - `plait: a model needs at least one layer`: num_layers() of an architecture of your own is
///     not positive
///   - `plait: rotary positions need rope_theta, their base`: a mixer of the architecture rotates,
///     and `rope_theta` is absent or not positive
/// Cost: at compile time
/// Test: tests/checks/compile_fail/rules.cpp (each rule alone),
///   tests/checks/compile_fail/misuse.cpp
template <auto C>
struct check {
  [[no_unique_address]] policies::schedule_rules<C> schedule;
  PLAIT_RULE(d_model, C.d_model > 0, "plait: a model needs d_model");
  PLAIT_RULE(vocab_size, C.vocab_size > 0 || C.vocab_size == no_vocabulary,
             "plait: a model needs vocab_size (plait::no_vocabulary for a stack of layers without "
             "embedding and head)");
  PLAIT_RULE(norm_eps, C.norm_eps > 0.0f, "plait: norm_eps must be positive");
  PLAIT_RULE(layers, C.num_layers() > 0, "plait: a model needs at least one layer");
  PLAIT_RULE(rope_theta, policies::rotary_positions_have_a_base(C),
             "plait: rotary positions need rope_theta, their base");
  PLAIT_RULE(sublayers, policies::every_layer_has_a_sublayer(C),
             "plait: every layer needs a mixer or a feed-forward; here a layer has neither");
};

}  // namespace plait

#include <plait/core/epilogue.hpp>
