// The workspace of an execution policy: a stack of scratch memory, sized before the first call.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

PLAIT_NAMESPACE_BEGIN

/// A stack of scratch memory in one block. The code that uses the arena also measures it: while the
/// arena measures, `take` only adds up sizes and returns null, and `exec.parallel` runs nothing, so
/// that a dry run of forward gives the size that forward needs (model/model.hpp).
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
/// Equation: n values take n sizeof(T) + 64 bytes, rounded up to 64; `measure` is the maximum of
///   the bytes taken at once during `run`
/// Shapes: `capacity`, `measure` and `reserve` count bytes, `take` values
/// Errors:
///   - `more workspace is needed than can be counted: use fewer tokens per call`: from `take`,
///     measuring or not
///   - `a kernel took more workspace than was measured`: the sizes of a layer depend on data, or
///     differ while measuring
/// Cost: `take` is an addition; `reserve` frees the old block, allocates the new one and zeroes it,
///   so that the system commits all of its pages
/// Test: tests/unit/core/arena_test.cpp, tests/unit/model/allocation_test.cpp
class arena {
 public:
  /// Allocates the block: `bytes` zero bytes, readable up to 64 bytes beyond their end.
  using source = std::shared_ptr<std::byte> (*)(std::int64_t bytes);
  explicit arena(source allocate = allocate_on_host) : allocate_(allocate) {}
  arena(arena&&) = default;
  arena& operator=(arena&&) = default;

  /// A scope: its destructor releases the memory taken since its constructor.
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

  /// `n` values of type T, uninitialized, 64-byte aligned, with 64 readable bytes past their end;
  /// null while measuring.
  template <class T>
  T* take(std::int64_t n) {
    constexpr std::int64_t max_values = INT64_MAX / 4 / static_cast<std::int64_t>(sizeof(T));
    std::int64_t const offset = used_;
    if (n < 0 || n > max_values || used_ > INT64_MAX / 4)
      throw error("more workspace is needed than can be counted: use fewer tokens per call");
    used_ += (n * static_cast<std::int64_t>(sizeof(T)) + 127) / 64 * 64;
    peak_ = std::max(peak_, used_);
    if (measuring_) return nullptr;
    if (used_ > capacity_) throw error("a kernel took more workspace than was measured");
    return reinterpret_cast<T*>(memory_.get() + offset);
  }

  bool measuring() const { return measuring_; }
  /// Size of the block in bytes.
  std::int64_t capacity() const { return capacity_; }

  /// Bytes that `run` needs: the maximum that it takes at once.
  template <class Run>
  std::int64_t measure(Run&& run) {
    struct restore {
      arena& a;
      std::int64_t used;
      std::int64_t peak;
      ~restore() {
        a.measuring_ = false;
        a.used_ = used;
        a.peak_ = peak;
      }
    } const at_end{*this, used_, peak_};
    measuring_ = true;
    used_ = 0;
    peak_ = 0;
    run();
    return peak_;
  }

  /// Makes room for `bytes`; never shrinks. Must not be called while memory is taken. plait::error
  /// when memory runs out.
  void reserve(std::int64_t bytes) {
    if (bytes <= capacity_) return;
    capacity_ = 0;
    memory_ = nullptr;
    memory_ = allocate_(bytes);
    capacity_ = bytes;
  }
  std::byte* data() const { return memory_.get(); }

 private:
  static std::shared_ptr<std::byte> allocate_on_host(std::int64_t bytes) {
    auto const owner = std::make_shared<buffer<std::byte>>(bytes);
    // Commits the pages before the first call.
    std::memset(owner->data(), 0, static_cast<std::size_t>(bytes));
    return {owner, owner->data()};
  }

  source allocate_;
  std::shared_ptr<std::byte> memory_;
  std::int64_t capacity_ = 0;
  std::int64_t used_ = 0;
  std::int64_t peak_ = 0;
  bool measuring_ = false;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
