// Where the CPU's ops are compiled: in every file that includes them, or once, in the library
// plait::compiled.
#pragma once

#include <plait/core/prologue.hpp>

// plait::compiled defines PLAIT_COMPILED for its users: the definitions of ops/cpu/ are then in the
// library and not in their headers. PLAIT_COMPILING is defined by the library's own file,
// compiled.cpp. PLAIT_OP begins a definition of an op that is no template.
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
