// How an op finds its implementation.
//
// An op is a class template on the execution policy: `ops::attend(exec, ...)` calls
// `attend_op<Exec>::run(exec, ...)`. Implementations are specialisations, so that a missing one is
// a sentence; with overloads, one that is not included would silently be passed over.
// Errors: the sentence is core/macros.hpp's
// Test: tests/compile_fail/misuse.cpp
#pragma once

#include <plait/core/sequences.hpp>
#include <plait/core/view.hpp>
#include <plait/exec/reference.hpp>

namespace plait::inline PLAIT_ABI::ops {

/// False for every type, so that an assertion fails only where a template is instantiated.
template <class Exec>
inline constexpr bool missing = false;

}  // namespace plait::inline PLAIT_ABI::ops
