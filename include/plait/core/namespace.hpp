// The namespace of plait: an inline namespace named after version, instruction set and OpenMP.
// Equation: everything but the policies is in `plait::PLAIT_ABI`, an inline namespace such as
//   `v0_1_avx512_omp`
// Test: tests/checks/abi/run.sh
#pragma once

#include <plait/core/compiler.hpp>

#if defined(_OPENMP)
/// Whether threads come from OpenMP, a part of PLAIT_ABI.
#define PLAIT_THREADS omp
#else
#define PLAIT_THREADS serial
#endif

/// The inline namespace of everything but the policies, which are plain values. The linker merges
/// inline functions of one name. If two translation units compile them with different flags, one of
/// the units runs the instructions of the other. So the namespace is named after the flags:
///
///   PLAIT_NAMESPACE_BEGIN ... PLAIT_NAMESPACE_END
#define PLAIT_JOIN_(version, isa, threads) v##version##_##isa##_##threads
#define PLAIT_JOIN(version, isa, threads) PLAIT_JOIN_(version, isa, threads)
#define PLAIT_ABI PLAIT_JOIN(0_1, PLAIT_ISA, PLAIT_THREADS)
#define PLAIT_NAMESPACE_BEGIN \
  namespace plait {           \
  inline namespace PLAIT_ABI {
#define PLAIT_NAMESPACE_END \
  }                         \
  }
