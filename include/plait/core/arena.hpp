// The workspace of an execution policy: one block of memory, used as a stack, sized before the
// first call.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

PLAIT_NAMESPACE_BEGIN

/// A stack of scratch memory. The same code that computes also measures: while the arena is
/// measuring, take() hands out null pointers and only adds up, and the execution policy runs
/// nothing, so a dry run of forward gives the size it needs (model/model.hpp).
///
/// While measuring, `take` hands out null and `exec.parallel` runs nothing; so the code that
/// computes is also the code that says what it needs. Memory taken inside a `frame` is given back
/// when the frame ends.
///
/// ```cpp body
/// plait::arena scratch;
/// auto const two_rows = [&] {
///   plait::arena::frame const inside(scratch);
///   float* const memory = scratch.take<float>(128);
///   if (!scratch.measuring()) memory[0] = 1;
/// };
/// scratch.reserve(scratch.measure(two_rows));  // 576 bytes
/// two_rows();
/// ```
///
/// Equation: n values take n sizeof(T) + 64 bytes, rounded up to 64; `measure` is the largest sum
///   taken at once while `run` runs
/// Shapes: `capacity`, `measure` and `reserve` count bytes, `take` values. What `take` gives is
///   uninitialized, 64-byte aligned, with 64 bytes behind it that may be read
/// Errors:
///   - `more workspace is needed than can be counted: use fewer tokens a call`: from `take`,
///     measuring or not
///   - `a kernel took more workspace than was measured`: thrown: a layer whose sizes depend on
///     data, or which asks for other sizes while measuring
/// Cost: `take` is an addition; `reserve` allocates where it grows, zeroes all of it, so that all
///   of it is there, and frees the old block
/// Test: tests/unit/core/arena_test.cpp, tests/unit/model/allocation_test.cpp
class arena {
 public:
  /// Where the block comes from: as many bytes, zero, which may be read 64 bytes beyond their end.
  using source = std::shared_ptr<std::byte> (*)(std::int64_t bytes);
  explicit arena(source from = of_this_machine) : from_(from) {}
  arena(arena&&) = default;
  arena& operator=(arena&&) = default;

  /// Memory taken inside a frame is given back when the frame ends.
  class frame {
   public:
    explicit frame(arena& a) : arena_(a), used_(a.used_) {}
    ~frame() { arena_.used_ = used_; }
    frame(frame const&) = delete;
    frame& operator=(frame const&) = delete;

   private:
    arena& arena_;
    std::int64_t used_;
  };

  /// `n` values of type T, uninitialized, 64-byte aligned, with 64 bytes behind them that may be
  /// read. plait::error when more is taken than was reserved, and, measuring or not, when the sum
  /// is beyond counting.
  template <class T>
  T* take(std::int64_t n) {
    constexpr std::int64_t most = INT64_MAX / 4 / static_cast<std::int64_t>(sizeof(T));
    std::int64_t const at = used_;
    if (n < 0 || n > most || used_ > INT64_MAX / 4)
      throw error("more workspace is needed than can be counted: use fewer tokens a call");
    used_ += (n * static_cast<std::int64_t>(sizeof(T)) + 127) / 64 * 64;
    peak_ = std::max(peak_, used_);
    if (measuring_) return nullptr;
    if (used_ > capacity_) throw error("a kernel took more workspace than was measured");
    return reinterpret_cast<T*>(memory_.get() + at);
  }

  bool measuring() const { return measuring_; }
  /// Bytes.
  std::int64_t capacity() const { return capacity_; }

  /// The most bytes that `run` holds at once.
  template <class Run>
  std::int64_t measure(Run&& run) {
    struct restore {
      arena& a;
      std::int64_t used, peak;
      ~restore() {
        a.measuring_ = false;
        a.used_ = used;
        a.peak_ = peak;
      }
    } const at_end{*this, used_, peak_};
    measuring_ = true;
    used_ = peak_ = 0;
    run();
    return peak_;
  }

  /// Makes room for `bytes`; never shrinks. Must not be called while memory is taken. plait::error
  /// when memory runs out.
  void reserve(std::int64_t bytes) {
    if (bytes <= capacity_) return;
    capacity_ = 0;
    memory_ = nullptr;
    memory_ = from_(bytes);
    capacity_ = bytes;
  }
  std::byte* data() const { return memory_.get(); }

 private:
  static std::shared_ptr<std::byte> of_this_machine(std::int64_t bytes) {
    auto const owner = std::make_shared<buffer<std::byte>>(bytes);
    std::memset(
        owner->data(), 0,
        static_cast<std::size_t>(bytes));  // so that all of it is there before the first call
    return {owner, owner->data()};
  }

  source from_;
  std::shared_ptr<std::byte> memory_;
  std::int64_t capacity_ = 0, used_ = 0, peak_ = 0;
  bool measuring_ = false;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
