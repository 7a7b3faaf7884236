// Annotations of the emulator for AddressSanitizer and ThreadSanitizer.
// Test: tests/unit/emulator/race_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define PLAIT_EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIT_EMULATOR_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PLAIT_EMULATOR_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(PLAIT_EMULATOR_TSAN)
// Its runtime takes half a millisecond to create a fiber.
#error "plait: the emulator finds races with clang++ -fsanitize=thread; this compiler's is too slow"
#endif
#if !defined(PLAIT_EMULATOR_ASAN)
/// 1 where this file is compiled for AddressSanitizer.
#define PLAIT_EMULATOR_ASAN 0
#endif
#if !defined(PLAIT_EMULATOR_TSAN)
/// 1 where this file is compiled for ThreadSanitizer.
#define PLAIT_EMULATOR_TSAN 0
#endif

#if PLAIT_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if PLAIT_EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
/// Functions of ThreadSanitizer's runtime, which no header declares.
void AnnotateIgnoreReadsBegin(char const* file, int line);
void AnnotateIgnoreReadsEnd(char const* file, int line);
void AnnotateIgnoreWritesBegin(char const* file, int line);
void AnnotateIgnoreWritesEnd(char const* file, int line);
}
#endif

PLAIT_NAMESPACE_BEGIN
namespace emulator {

/// Whether AddressSanitizer is on: it reports accesses of the host to the device's memory.
inline constexpr bool address_sanitizer = PLAIT_EMULATOR_ASAN;
/// Whether ThreadSanitizer is on: it reports each data race between threads of a launch.
inline constexpr bool thread_sanitizer = PLAIT_EMULATOR_TSAN;

}  // namespace emulator
PLAIT_NAMESPACE_END

// AddressSanitizer's annotations of a switch to another stack, which exceptions need; empty
// functions where it is off.
PLAIT_NAMESPACE_BEGIN
namespace emulator::asan {

/// The stack of a fiber.
struct stack {
  void const* bottom = nullptr;
  std::size_t size = 0;
  void* fake = nullptr;  ///< AddressSanitizer's stack of locals, for uses after return
};

#if PLAIT_EMULATOR_ASAN
/// Before a switch from one stack to another.
inline void leave(stack& from, stack const& to) {
  __sanitizer_start_switch_fiber(&from.fake, to.bottom, to.size);
}
/// After a switch to `to`; sets `from` to the stack that was left.
inline void enter(stack const& to, stack& from) {
  __sanitizer_finish_switch_fiber(to.fake, &from.bottom, &from.size);
}
#else
inline void leave(stack&, stack const&) {}
inline void enter(stack const&, stack&) {}
#endif

}  // namespace emulator::asan
PLAIT_NAMESPACE_END

// ThreadSanitizer's annotations of a fiber as a thread; empty functions where it is off.
PLAIT_NAMESPACE_BEGIN
namespace emulator::tsan {

#if PLAIT_EMULATOR_TSAN

/// ThreadSanitizer's state of a fiber.
using fiber = void*;
/// The fiber that runs, a new one, and the end of one.
inline fiber current() { return __tsan_get_current_fiber(); }
inline fiber create() { return __tsan_create_fiber(0); }
inline void destroy(fiber f) {
  if (f != nullptr) __tsan_destroy_fiber(f);
}
/// Switches without ordering: only release and acquire order.
inline void switch_to(fiber f) { __tsan_switch_to_fiber(f, __tsan_switch_to_fiber_no_sync); }
/// Everything before release(token) happens before everything after acquire(token).
inline void release(char& token) { __tsan_release(&token); }
inline void acquire(char& token) { __tsan_acquire(&token); }
/// While an object of this class exists, the accesses of this thread are ignored: they are those of
/// the emulator.
struct ignore_accesses {
  ignore_accesses() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~ignore_accesses() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  ignore_accesses(ignore_accesses const&) = delete;
};

#else

using fiber = char;
inline fiber current() { return 0; }
inline fiber create() { return 0; }
inline void destroy(fiber) {}
inline void switch_to(fiber) {}
inline void release(char&) {}
inline void acquire(char&) {}
struct ignore_accesses {
  ignore_accesses() {}  // user-provided, so that a variable of it is not unused
  ignore_accesses(ignore_accesses const&) = delete;
};

#endif

}  // namespace emulator::tsan
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
