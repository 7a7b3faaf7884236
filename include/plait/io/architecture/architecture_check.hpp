// Comparing a config.json with an architecture: what the families' `require_same` share.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/architecture_source.hpp>
#include <plait/io/files/message.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>

#include <string>
#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// What messages call a component.
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

/// The base of rotary positions; an architecture without that member has none.
template <class Architecture>
constexpr float rope_theta_of(Architecture const& a) {
  if constexpr (requires { a.rope_theta; })
    return a.rope_theta;
  else
    return 0;
}

/// Comparisons of one config.json with an architecture; every mismatch is a plait::error with the
/// file, the key and both values, "KEY is FOUND, but this model was built for BUILT". Reals are the
/// same if they are the same float. `file` must outlive it.
/// Equation: integers and bools must be equal, reals the same float; a NaN in the type equals
///   nothing. `sizes` compares hidden_size, vocab_size, num_hidden_layers, rms_norm_eps and
///   tie_word_embeddings, `heads` num_attention_heads, num_key_value_heads and head_dim, in this
///   order: the first that differs is said
/// Shapes: `file` must outlive the object; `rope_theta_of` is 0 for an architecture without that
///   member
/// Errors:
///   - `… is …, but this model was built for …`: a key of config.json, its value, and the
///   type's
/// Cost: a few comparisons, no allocation unless they fail, but for the keys' names
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp,
/// tests/unit/models/mixtral/checkpoint_test.cpp, tests/unit/io/family_test.cpp
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
    fail(file_, key + " is " + found + ", but this model was built for " + built);
  }

  /// The keys that Hugging Face's families share, of a config that has them as members.
  template <class Config, class Architecture>
  void sizes(Config const& c, Architecture const& a) const {
    same("hidden_size", c.hidden_size, a.d_model);
    same("vocab_size", c.vocab_size, a.vocab_size);
    same("num_hidden_layers", c.num_hidden_layers, a.num_layers());
    same("rms_norm_eps", c.rms_norm_eps, a.norm_eps);
    same("tie_word_embeddings", c.tie_word_embeddings, a.tie_embeddings);
  }
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
