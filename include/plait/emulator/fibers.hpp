// The threads of one block as fibers of the calling thread.
#pragma once

#include <plait/core/prologue.hpp>

#if !__has_include(<ucontext.h>)
#error "plait: the emulator switches between threads by POSIX ucontext, which this system lacks"
#endif

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/emulator/sanitizer.hpp>
#include <plait/gpu/block.hpp>

#include <ucontext.h>
#include <csetjmp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

/// 1 where a switch is a jump, without swapcontext's two system calls: not under the sanitizers,
/// which must see the switch, nor with _FORTIFY_SOURCE, which takes a jump to another stack for an
/// error.
#if PLAIT_EMULATOR_ASAN || PLAIT_EMULATOR_TSAN || (defined(_FORTIFY_SOURCE) && _FORTIFY_SOURCE > 0)
#define PLAIT_EMULATOR_JUMPS 0
#else
#define PLAIT_EMULATOR_JUMPS 1
#endif

PLAIT_NAMESPACE_BEGIN
namespace emulator {

/// Runs the threads of a block one after the other, switching where they wait. The order is
/// shuffled between barriers. ThreadSanitizer sees each fiber as a thread that only barriers order
/// (a shuffle of the warp does not).
///
/// Errors: plait::error where not all threads reach a barrier, and what a body throws. The block's
///   other threads then never continue: running() is true, their destructors do not run
/// Cost: a stack of 64 KiB per thread (32 KiB under ThreadSanitizer); a local array beyond that is
///   a stack overflow that is not reported
/// Test: tests/unit/emulator/block_test.cpp, tests/unit/emulator/race_test.cpp
class fibers {
 public:
  static constexpr int warp_size = kernels::warp_size;
  /// Size of the largest value that exchange takes.
  static constexpr std::size_t slot_bytes = 64;

  /// `threads` is a multiple of 32, at most 1024.
  explicit fibers(int threads)
      : threads_(static_cast<std::size_t>(threads)), published_(static_cast<std::size_t>(threads)) {
    if (threads % warp_size != 0 || threads <= 0 || threads > warp_size * max_warps)
      throw error(sentence(
          "exec::emulated: a block of {} threads, expected whole warps of 32, at most 1024 "
          "threads",
          threads));
    for (std::size_t t = 0; t < threads_.size(); ++t) create(t);
  }
  ~fibers() {
    for (fiber& t : threads_) tsan::destroy(t.at.tsan_fiber);
  }
  fibers(fibers const&) = delete;

  /// Calls body(thread) on every thread until all have ended; errors name `kernel` and its block.
  /// Other blocks of the launch are not ordered with it; join() orders it with what follows.
  template <class Body>
  void run(Body const& body, std::uint64_t seed, char const* kernel, launch_grid const& block) {
    running_fibers() = this;
    tsan::release(begin_);
    entry_ = [](void const* b, int t) { (*static_cast<Body const*>(b))(t); };
    body_ = &body;
    kernel_ = kernel;
    block_ = block;
    random_ = seed | 1;
    for (fiber& t : threads_) {
      t.state = thread_state::ready;
      t.exception = nullptr;
    }
    if constexpr (thread_sanitizer) {
      home_.tsan_fiber = tsan::current();
      // Threads other than those of the block before, with stacks of their own.
      for (std::size_t t = 0; t < threads_.size(); ++t) create(t);
    }
    std::vector<std::size_t> order(threads_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    while (count(thread_state::ended) < threads_.size()) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
      bool progress = false;
      for (std::size_t const t : order) {
        if (threads_[t].state != thread_state::ready) continue;
        progress = true;
        current_ = t;
        switch_context(home_, threads_[t].at);
        if (threads_[t].exception) std::rethrow_exception(threads_[t].exception);
      }
      if (release_barriers()) progress = true;
      if (!progress && count(thread_state::ended) < threads_.size()) fail_at_barrier();
    }
  }

  /// Whether a thread has begun and not ended.
  bool running() const { return count(thread_state::ended) < threads_.size(); }

  /// Ends a launch: its blocks happen before what the caller does next.
  void join() { tsan::acquire(end_); }

  /// The barrier of the block.
  void sync() {
    arrive_and_wait(block_barrier_, threads_[current_].block_barriers,
                    thread_state::at_block_barrier);
  }
  /// The barrier of the calling thread's warp.
  void sync_warp() {
    arrive_and_wait(warp_barriers_[current_ / warp_size], threads_[current_].warp_barriers,
                    thread_state::at_warp_barrier);
  }
  /// Publishes `bytes` bytes of this lane and returns when all lanes of the warp have done so.
  void exchange(void const* value, std::size_t bytes) {
    {
      tsan::ignore_accesses const bookkeeping;
      std::memcpy(threads_[current_].slot.data(), value, bytes);
    }
    wait(thread_state::at_warp_barrier);
  }
  /// The value that `thread` published in the last exchange of its warp.
  void const* published(int thread) const {
    return published_[static_cast<std::size_t>(thread)].data();
  }

  /// Throws plait::error that names kernel, block and calling thread.
  [[noreturn]] void fail(std::string const& what) const {
    throw error(sentence("{}, thread {}: {}", where(), current_, what));
  }

 private:
  static constexpr int max_warps = 32;
  static constexpr std::size_t stack_bytes = std::size_t{thread_sanitizer ? 32 : 64} << 10;

  enum class thread_state { ready, at_block_barrier, at_warp_barrier, ended };
  using slot_type = std::array<std::byte, slot_bytes>;
  /// Execution state of a fiber, or of the thread that runs the fibers.
  struct context {
    ucontext_t ucontext;
    std::jmp_buf jump;
    bool entered = false;
    asan::stack asan_stack;
    tsan::fiber tsan_fiber{};
  };
  /// Two tokens, used in turns: a thread may reach the next barrier before all have left this one.
  struct barrier {
    char even = 0;
    char odd = 0;
  };
  struct fiber {
    context at;
    std::unique_ptr<char[]> stack;
    thread_state state = thread_state::ended;
    std::exception_ptr exception;
    alignas(16) slot_type slot;
    unsigned block_barriers = 0;
    unsigned warp_barriers = 0;
  };

  static fibers*& running_fibers() {
    static thread_local fibers* running = nullptr;
    return running;
  }
  void create(std::size_t t) {
    context& c = threads_[t].at;
    tsan::destroy(std::exchange(c.tsan_fiber, tsan::create()));
    threads_[t].stack.reset(new char[stack_bytes]);
    getcontext(&c.ucontext);
    c.ucontext.uc_stack.ss_sp = threads_[t].stack.get();
    c.ucontext.uc_stack.ss_size = stack_bytes;
    c.ucontext.uc_link = nullptr;
    c.asan_stack = {threads_[t].stack.get(), stack_bytes, nullptr};
    makecontext(&c.ucontext, &fibers::start, 0);
  }
  /// The body of a fiber: runs its thread of one block after the other.
  static void start() {
    fibers& f = *running_fibers();
    std::size_t const number = f.current_;
    fiber& t = f.threads_[number];
    asan::enter(t.at.asan_stack, f.home_.asan_stack);
    for (;;) {
      tsan::acquire(f.begin_);
      try {
        f.entry_(f.body_, static_cast<int>(number));
      } catch (...) {
        tsan::ignore_accesses const bookkeeping;
        t.exception = std::current_exception();
      }
      tsan::release(f.end_);
      {
        tsan::ignore_accesses const bookkeeping;
        t.state = thread_state::ended;
      }
      f.switch_context(t.at, f.home_);
    }
  }
  void switch_context(context& from, context& to) {
#if PLAIT_EMULATOR_JUMPS
    if (_setjmp(from.jump) != 0) return;
    from.entered = true;
    if (to.entered) _longjmp(to.jump, 1);
    setcontext(&to.ucontext);
#else
    tsan::switch_to(to.tsan_fiber);
    asan::leave(from.asan_stack, to.asan_stack);
    swapcontext(&from.ucontext, &to.ucontext);
    asan::stack left;
    asan::enter(from.asan_stack, &from == &home_ ? left : home_.asan_stack);
#endif
  }
  void wait(thread_state where) {
    fiber& t = threads_[current_];
    {
      tsan::ignore_accesses const bookkeeping;
      t.state = where;
    }
    tsan::release(end_);  // the thread may never continue
    switch_context(t.at, home_);
  }
  void arrive_and_wait(barrier& b, unsigned& arrivals, thread_state where) {
    char* token = nullptr;
    {
      tsan::ignore_accesses const bookkeeping;
      ++arrivals;
      token = arrivals % 2 == 0 ? &b.even : &b.odd;
    }
    tsan::release(*token);
    wait(where);
    tsan::acquire(*token);
  }
  /// Makes the threads ready whose barrier is complete; returns whether there are any.
  bool release_barriers() {
    bool any = false;
    for (std::size_t w = 0; w < threads_.size(); w += warp_size) {
      auto const first = threads_.begin() + static_cast<std::ptrdiff_t>(w);
      auto const end = first + warp_size;
      auto const waits = [](fiber const& t) { return t.state == thread_state::at_warp_barrier; };
      if (!std::all_of(first, end, waits)) continue;
      for (std::size_t i = w; i < w + warp_size; ++i) {
        published_[i] = threads_[i].slot;
        threads_[i].state = thread_state::ready;
      }
      any = true;
    }
    // A thread that has ended never arrives: __syncthreads is for all threads of the block.
    if (count(thread_state::at_block_barrier) == threads_.size()) {
      for (fiber& t : threads_) t.state = thread_state::ready;
      any = true;
    }
    return any;
  }
  std::size_t count(thread_state s) const {
    return static_cast<std::size_t>(std::count_if(threads_.begin(), threads_.end(),
                                                  [s](fiber const& t) { return t.state == s; }));
  }
  std::string where() const {
    return sentence("exec::emulated: {}, block ({}, {}, {})", kernel_, block_.x, block_.y,
                    block_.z);
  }
  [[noreturn]] void fail_at_barrier() const {
    throw error(sentence(
        "{}: a barrier that not all threads reach: {} wait for the block, {} for their "
        "warp, {} of {} have ended",
        where(), count(thread_state::at_block_barrier), count(thread_state::at_warp_barrier),
        count(thread_state::ended), threads_.size()));
  }
  std::uint64_t random() {  // xorshift64
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_;
  }

  std::vector<fiber> threads_;
  std::vector<slot_type> published_;
  context home_;
  std::size_t current_ = 0;
  void (*entry_)(void const*, int) = nullptr;
  void const* body_ = nullptr;
  char const* kernel_ = "";
  launch_grid block_;
  std::uint64_t random_ = 1;
  char begin_ = 0;  ///< token that the launch releases and its threads acquire
  char end_ = 0;    ///< token that the threads release and join acquires
  barrier block_barrier_;
  std::array<barrier, max_warps> warp_barriers_;
};

}  // namespace emulator
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
