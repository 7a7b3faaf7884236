// The macros that headers use: those of core/compiler.hpp and core/namespace.hpp, and
// PLAIT_OP_MISSING. (PLAIT_RULE is in policy/rule.hpp.)
// Errors:
//   - `plait: … has no implementation for this execution policy`: an op is called on an execution
//     policy whose implementation is not included; for exec::cpu, plait/plait.hpp includes it
// Test: tests/checks/compile_fail/misuse.cpp
#pragma once

#include <plait/core/compiler.hpp>
#include <plait/core/namespace.hpp>

/// The body of an op's primary template: a call on an execution policy without an implementation
/// fails to compile with a sentence (ops/dispatch.hpp).
#define PLAIT_OP_MISSING(op)                                                      \
  static_assert(missing<Exec>, "plait: " #op                                      \
                               " has no implementation for this execution policy" \
                               " (for exec::cpu include <plait/plait.hpp>)")
