// Where the CPU's ops are compiled: in every file that includes them, or once, in the library
// plait::compiled.
// Test: tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

/// Set by what the program defines: plait::compiled defines PLAIT_COMPILED for its users, whose
/// headers then hold no definitions of the CPU's ops; the library's own file, compiled.cpp,
/// defines PLAIT_COMPILING. PLAIT_DEFINE_OPS is 1 where the headers hold the definitions. PLAIT_OP
/// begins the definition of an op that is not a template.
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
