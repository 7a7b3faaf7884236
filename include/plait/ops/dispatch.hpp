// How an op finds its implementation.
//
// An op is a class template on the execution policy: `ops::paged_attention(exec, ...)` calls
// `paged_attention_op<Exec>::run(exec, ...)`. Implementations are specialisations, so that a
// missing one is a compile-time error with a sentence. With overloads, one that is not included
// would be skipped silently.
// Errors: the sentence of PLAIT_OP_MISSING (core/macros.hpp)
// Test: tests/checks/compile_fail/misuse.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/core/view.hpp>
#include <plait/exec/reference.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// False for every type, so that an assertion fails only where a template is instantiated.
template <class Exec>
inline constexpr bool missing = false;

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
