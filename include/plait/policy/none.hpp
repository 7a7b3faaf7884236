// The empty slot.
#pragma once

#include <plait/core/prologue.hpp>

namespace plait {

/// A slot of a hybrid that is not there: the sublayer then has no norm, no weights and no residual.
struct none {
  friend constexpr bool operator==(none const&, none const&) = default;
};

template <class Visit>
constexpr void describe(none const&, int, Visit&&) {}

}  // namespace plait

#include <plait/core/epilogue.hpp>
