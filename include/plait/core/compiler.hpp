// Properties of the compiler and its flags: the flags that are errors, the instruction set, the
// width of a vector register, and the marker of device functions.
// Shapes: `PLAIT_PACKET` is the number of floats in a vector register: 16 with AVX-512 F, DQ, BW
//   and VL, 8 with AVX2 and FMA, otherwise 4
// Errors:
//   - `plait: -ffast-math and its parts (-Ofast, ...) change results: compile without them`:
//     -funsafe-math-optimizations, -ffinite-math-only, -fassociative-math, -freciprocal-math and
//     -fno-signed-zeros; clang reports only -ffast-math and -ffinite-math-only
//   - `plait: errors are exceptions (plait::error): compile without -fno-exceptions`
// Test: tests/checks/compile_fail/fast_math.sh, tests/checks/compile_fail/no_exceptions.sh,
//   tests/unit/model/isa_probe.cpp
#pragma once

// The exact order of operations and the infinities of softmax need strict arithmetic. g++ defines a
// macro for every part of -ffast-math that reorders or rounds; clang defines one for -ffast-math
// and one for -ffinite-math-only.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "plait: -ffast-math and its parts (-Ofast, ...) change results: compile without them"
#endif

// The error is fatal, because otherwise every throw and every catch is a further error; the only
// fatal diagnostic of g++ is a missing file.
#if defined(__GNUC__) && !defined(__EXCEPTIONS)
#if defined(__clang__)
#pragma clang diagnostic fatal "-W#warnings"
#warning "plait: errors are exceptions (plait::error): compile without -fno-exceptions"
#else
#error "plait: errors are exceptions (plait::error): compile without -fno-exceptions"
#include <stop-at-the-error-above>
#endif
#endif

/// The instruction set that this translation unit is compiled for. PLAIT_PACKET is the number of
/// floats in a vector register. PLAIT_ISA names the instruction set and is a part of PLAIT_ABI.
/// PLAIT_AVX512_BF16, PLAIT_AVX512_VNNI and PLAIT_AVX_VNNI are 1 where the extension of that name
/// is used, and guard all of its instructions. PLAIT_BF16_DOT and PLAIT_INT8_DOT select the
/// arithmetic of products, not the instructions: 1 for pairs of bf16 or quads of int8 in one 32-bit
/// word, 0 for floats. VNNI or plain AVX2 multiplies quads of int8.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define PLAIT_PACKET 16
#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
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

/// Marks a function that kernels on a device call too.
#if defined(__CUDACC__)
#define PLAIT_HD __host__ __device__
#else
#define PLAIT_HD
#endif
