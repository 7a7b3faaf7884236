// The empty slot: the sublayer has no norm, no weights and no residual.
#pragma once

#include <plait/core/prologue.hpp>

namespace plait {

/// An empty slot: x passes the sublayer unchanged.
/// Errors: none; check.hpp refuses a layer whose two slots are empty
/// Test: tests/checks/compile_fail/misuse.cpp, tests/unit/model/invariance_test.cpp
struct none {
  friend constexpr bool operator==(none const&, none const&) = default;
};

/// No tensors.
template <class Visit>
constexpr void describe(none const&, int, Visit&&) {}

}  // namespace plait

#include <plait/core/epilogue.hpp>
