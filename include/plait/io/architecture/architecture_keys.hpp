// The keys of config.json that the families of Hugging Face share, from an architecture.
// Test: tests/unit/io/family_test.cpp, tests/unit/io/save_golden_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/float_text.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <string>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The shortest JSON number that reads back as the same float: 1e-06, not 9.999999974752427e-07.
/// Infinities and NaN are null.
inline nlohmann::json number_of(float value) {
  if (!std::isfinite(value)) return nullptr;
  return nlohmann::json::parse(float_text(value));
}

/// The shared keys. The ids of special tokens, which an architecture does not have, are null.
template <class Architecture>
nlohmann::json hugging_face_keys(Architecture const& a) {
  return {{"hidden_size", a.d_model},
          {"vocab_size", a.vocab_size},
          {"num_hidden_layers", a.num_layers()},
          {"rms_norm_eps", number_of(a.norm_eps)},
          {"tie_word_embeddings", a.tie_embeddings},
          {"hidden_act", "silu"},
          {"initializer_range", 0.02},
          {"use_cache", true},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"pad_token_id", nullptr}};
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
