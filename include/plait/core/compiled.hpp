// Selects where the CPU's ops are compiled: in every file that includes them, or once, in the
// library plait::compiled.
// Test: tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

/// PLAIT_DEFINE_OPS is 1 where the headers contain the definitions of the CPU's ops, and 0 where
/// PLAIT_COMPILED is defined, as plait::compiled does for its users. The library's source file,
/// compiled.cpp, defines PLAIT_COMPILING. PLAIT_OP begins the definition of an op that is not a
/// template.
#if defined(PLAIT_COMPILING)
#define PLAIT_DEFINE_OPS 1
#define PLAIT_OP
#elif defined(PLAIT_COMPILED)
#define PLAIT_DEFINE_OPS 0
#else
#define PLAIT_DEFINE_OPS 1
#define PLAIT_OP inline
#endif

#include <plait/core/epilogue.hpp>
