// The macros: the ABI namespace, what the instruction set decides, and what device code needs.
// (PLAIT_RULE is in policy/rule.hpp.) What the compiler's flags decide: width of a vector register,
// and the inline namespace that keeps translation units with other flags apart.
// Equation: everything but the policies is in `plait::inline PLAIT_ABI`, such as `v0_1_avx512_omp`:
//   name, instruction set and OpenMP
// Shapes: `PLAIT_PACKET` is the floats in a register: 16 with AVX-512 F, DQ, BW and VL, 8 with AVX2
//   and FMA, else 4
// Errors:
//   - `plait: -ffast-math and its parts (-Ofast, -funsafe-math-optimizations, -ffinite-math-only,
//     -fassociative-math, -freciprocal-math, -fno-signed-zeros) break what plait promises (exact
//     order of operations, infinities in softmax); compile without them`: as far as the compiler
//     tells: clang does of the whole and of -ffinite-math-only
//   - `plait: … has no implementation for this execution policy (for exec::cpu include
//     <plait/plait.hpp>)`: where an op is called on an execution policy for which nothing was
//     included
// Test: tests/checks/compile_fail/misuse.cpp, tests/unit/model/isa_probe.cpp
#pragma once

// As far as compilers tell: g++ names every part of -ffast-math that reorders or rounds otherwise,
// clang only the whole and finite-only.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error \
    "plait: -ffast-math and its parts (-Ofast, -funsafe-math-optimizations, -ffinite-math-only, -fassociative-math, -freciprocal-math, -fno-signed-zeros) break what plait promises (exact order of operations, infinities in softmax); compile without them"
#endif

// Fatal, as else every throw and catch would be an error of its own; g++ has no other way than a
// file that is not there.
#if defined(__GNUC__) && !defined(__EXCEPTIONS)
#if defined(__clang__)
#pragma clang diagnostic fatal "-W#warnings"
#warning "plait: errors are exceptions (plait::error): compile without -fno-exceptions"
#else
#error "plait: errors are exceptions (plait::error): compile without -fno-exceptions"
#include <stop-at-the-error-above>
#endif
#endif

/// The level this translation unit is compiled for. PLAIT_PACKET is the number of floats in a
/// vector register, PLAIT_ISA the level's name. PLAIT_AVX512_BF16, PLAIT_AVX512_VNNI and
/// PLAIT_AVX_VNNI are 1 where the extension of that name is used: only behind them does code use
/// its instructions. PLAIT_BF16_DOT and PLAIT_INT8_DOT say which arithmetic products take, not
/// which instructions make it: pairs of bf16 and quads of int8 in one 32-bit word, or floats. Quads
/// of int8 are multiplied by VNNI or by plain AVX2.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define PLAIT_PACKET 16
#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
/// The instruction set's name, a part of PLAIT_ABI.
#define PLAIT_ISA avx512_bf16
#define PLAIT_AVX512_BF16 1
#define PLAIT_AVX512_VNNI 1
#elif defined(__AVX512VNNI__)
#define PLAIT_ISA avx512_vnni
#define PLAIT_AVX512_VNNI 1
#else
#define PLAIT_ISA avx512
#endif
#elif defined(__AVX2__) && defined(__FMA__)
#define PLAIT_PACKET 8
#if defined(__AVXVNNI__)
#define PLAIT_ISA avx2_vnni
#define PLAIT_AVX_VNNI 1
#else
#define PLAIT_ISA avx2
#endif
#else
#define PLAIT_PACKET 4
#define PLAIT_ISA base
#endif
#if !defined(PLAIT_AVX512_BF16)
#define PLAIT_AVX512_BF16 0
#endif
#if !defined(PLAIT_AVX512_VNNI)
#define PLAIT_AVX512_VNNI 0
#endif
#if !defined(PLAIT_AVX_VNNI)
#define PLAIT_AVX_VNNI 0
#endif
#define PLAIT_BF16_DOT PLAIT_AVX512_BF16
#define PLAIT_INT8_DOT (PLAIT_AVX512_VNNI || PLAIT_PACKET == 8)

#if defined(_OPENMP)
/// Whether there is OpenMP, a part of PLAIT_ABI.
#define PLAIT_THREADS omp
#else
#define PLAIT_THREADS serial
#endif

/// The inline namespace of everything but the policies, which are plain values. Inline code
/// compiled with other flags in two translation units is silently shared by the linker, so that one
/// of them
/// runs the other's instructions; so the namespace is named after the flags:
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

/// Functions that device kernels call too (ops/cuda/).
#if defined(__CUDACC__)
#define PLAIT_HD __host__ __device__
#else
#define PLAIT_HD
#endif

/// The body of an op's primary template: an execution policy without an implementation is a
/// sentence (ops/dispatch.hpp).
#define PLAIT_OP_MISSING(op)                                                                      \
  static_assert(missing<Exec>, "plait: " #op                                                      \
                               " has no implementation for this execution policy (for exec::cpu " \
                               "include <plait/plait.hpp>)")
