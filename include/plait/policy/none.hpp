// The empty slot: the sublayer has no norm, no weights and no residual.
#pragma once

#include <plait/core/prologue.hpp>

namespace plait {

/// A slot of a hybrid that is not there: the sublayer then has no norm, no weights and no residual.
/// Errors: none; a layer whose two slots are empty is refused by check.hpp
/// Test: tests/checks/compile_fail/misuse.cpp, tests/unit/model/invariance_test.cpp
struct none {
  friend constexpr bool operator==(none const&, none const&) = default;
};

/// The tensors, each once (policy/tensor.hpp).
template <class Visit>
constexpr void describe(none const&, int, Visit&&) {}

}  // namespace plait

#include <plait/core/epilogue.hpp>
