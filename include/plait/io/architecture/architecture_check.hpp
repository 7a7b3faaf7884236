// The comparison of a config.json with an architecture, shared by the families.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/float_text.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>

#include <string>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The name of a component in errors.
template <class Policy>
constexpr char const* component_text() {
  if constexpr (std::is_same_v<Policy, attention>)
    return "attention";
  else if constexpr (std::is_same_v<Policy, mamba>)
    return "mamba";
  else if constexpr (std::is_same_v<Policy, mlp>)
    return "mlp";
  else if constexpr (std::is_same_v<Policy, moe>)
    return "moe";
  else if constexpr (std::is_same_v<Policy, none>)
    return "nothing";
  else
    return "another component";
}

/// The rope_theta of an architecture, or 0 if it has no such member.
template <class Architecture>
constexpr float rope_theta_of(Architecture const& a) {
  if constexpr (requires { a.rope_theta; })
    return a.rope_theta;
  else
    return 0;
}

/// Compares a config.json with an architecture; the first difference is a plait::error. `file` must
/// outlive the object.
/// Equation: integers and bools are compared by value, reals as floats; a NaN equals nothing
/// Errors:
///   - `… is …, but this model was built for …`: a key of config.json, its value, and the
///     type's value
/// Cost: a few comparisons
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp,
///   tests/unit/models/mixtral/checkpoint_test.cpp, tests/unit/io/family_test.cpp
class architecture_check {
 public:
  explicit architecture_check(std::string const& file) : file_(file) {}

  void same(std::string const& key, int found, int built) const {
    if (found != built) differ(key, std::to_string(found), std::to_string(built));
  }
  void same(std::string const& key, bool found, bool built) const {
    if (found != built) differ(key, found ? "true" : "false", built ? "true" : "false");
  }
  void same(std::string const& key, float found, float built) const {
    if (found < built || found > built || built != built)
      differ(key, float_text(found), float_text(built));
  }
  [[noreturn]] void differ(std::string const& key, std::string const& found,
                           std::string const& built) const {
    fail(file_, "{} is {}, but this model was built for {}", key, found, built);
  }

  /// hidden_size, vocab_size, num_hidden_layers, rms_norm_eps and tie_word_embeddings.
  template <class Config, class Architecture>
  void sizes(Config const& c, Architecture const& a) const {
    same("hidden_size", c.hidden_size, a.d_model);
    same("vocab_size", c.vocab_size, a.vocab_size);
    same("num_hidden_layers", c.num_hidden_layers, a.num_layers());
    same("rms_norm_eps", c.rms_norm_eps, a.norm_eps);
    same("tie_word_embeddings", c.tie_word_embeddings, a.tie_embeddings);
  }
  /// num_attention_heads, num_key_value_heads and head_dim.
  template <class Config>
  void heads(Config const& c, attention const& p, int d_model) const {
    same("num_attention_heads", c.num_attention_heads, p.num_heads);
    same("num_key_value_heads", c.num_key_value_heads, p.num_kv_heads);
    same("head_dim", c.head_dim, p.dim(d_model));
  }

 private:
  std::string const& file_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
