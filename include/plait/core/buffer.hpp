// Aligned memory for weights, state and workspace. An owned, zero-filled, aligned array of a plain
// type; or one that is borrowed, and read-only.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/macros.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

PLAIT_NAMESPACE_BEGIN

/// Zero-filled, 64-byte aligned array of a plain type, with room for two vector registers beyond
/// its end, so that a kernel may load whole registers from anywhere inside. Throws plait::error
/// when memory runs out.
///
/// From mapped_bytes on the memory is the system's own zero pages, huge ones where it has them:
/// nothing is written before its user does, so that the threads that fill it touch it first, and
/// what nobody fills is never there.
/// Shapes: `size` in values; 64-byte aligned, with 128 readable bytes behind the end: two vector
///   registers may be loaded from anywhere inside. So must borrowed memory be, which lives as long
///   as `owner`, a shared pointer to anything; null where it lives anyway
/// Errors:
///   - `out of memory: … values of … bytes are needed`: also for a size that is negative or
///   beyond
///     counting
///   - `these weights are borrowed, from a packed file for instance, and cannot be changed; load
///     the checkpoint to change them`: from `data` and `operator[]` of a buffer that is not const
/// Cost: one allocation. Below 4 MiB (`mapped_bytes`) a pass that zeroes it; from there the
///   system's zero pages, of which it is asked for huge ones, and which are there when they are
///   first written. Moving is free, copying not possible
/// Test: tests/unit/core/buffer_test.cpp
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::int64_t alignment = 64, slack_bytes = 128,
                                mapped_bytes = std::int64_t{4} << 20;

  buffer() = default;
  // Defined below, and so functions to call: a model has hundreds of buffers, and its compilation
  // most of its time in their ends.
  buffer(buffer&&) noexcept;
  buffer& operator=(buffer&&) noexcept;
  ~buffer();
  explicit buffer(std::int64_t size) : size_(size) {
    if (size == 0) return;
    constexpr std::int64_t most =
        INT64_MAX / static_cast<std::int64_t>(sizeof(T)) - 2 * slack_bytes;
    void* memory = nullptr;
    std::size_t mapped = 0;
    if (size > 0 && size <= most) {
      std::size_t const bytes =
          (static_cast<std::size_t>(size) * sizeof(T) + slack_bytes + alignment - 1) / alignment *
          alignment;
      if (bytes >= mapped_bytes) {
        memory = zero_pages(bytes);
        mapped = memory != nullptr ? bytes : 0;
      }
      if (memory == nullptr) {
        memory = std::aligned_alloc(alignment, bytes);
        if (memory != nullptr) std::memset(memory, 0, bytes);
      }
    }
    if (memory == nullptr)
      throw error("out of memory: " + std::to_string(size) + " values of " +
                  std::to_string(sizeof(T)) + " bytes are needed");
    data_ = {static_cast<T*>(memory), {.mapped = mapped}};
  }

  /// Somebody else's memory, which `owner` keeps: read-only, aligned and readable beyond its end as
  /// above. What would change it is a plait::error.
  static buffer borrow(T const* data, std::int64_t size, std::shared_ptr<void const> owner) {
    buffer b;
    b.data_ = {
        const_cast<T*>(data),
        {.borrowed = true, .owner = std::move(owner)}};  // leaves this object as T const* only
    b.size_ = size;
    return b;
  }

  T* data() {
    if (borrowed()) refuse_change();
    return data_.get();
  }
  T const* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  bool borrowed() const { return data_.get_deleter().borrowed; }
  T& operator[](std::int64_t i) { return data()[i]; }
  T const& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  struct release {
    std::size_t mapped = 0;  // bytes of zero pages, 0 where the memory is the heap's
    bool borrowed = false;
    std::shared_ptr<void const> owner{};
    void operator()(T* p) const {
      if (borrowed) return;
#if defined(MAP_ANONYMOUS)
      if (mapped > 0) return void(::munmap(p, mapped));
#endif
      std::free(p);
    }
  };

  /// Null where the system has none.
  static void* zero_pages([[maybe_unused]] std::size_t bytes) {
#if defined(MAP_ANONYMOUS)
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
    (void)::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: small pages hold the same
#endif
    return memory;
#else
    return nullptr;
#endif
  }

  [[noreturn]] static void refuse_change() {
    throw error(
        "these weights are borrowed, from a packed file for instance, and cannot be changed; load "
        "the checkpoint to change them");
  }

  std::unique_ptr<T[], release> data_;
  std::int64_t size_ = 0;
};

template <class T>
buffer<T>::buffer(buffer&&) noexcept = default;
template <class T>
buffer<T>& buffer<T>::operator=(buffer&&) noexcept = default;
template <class T>
buffer<T>::~buffer() = default;

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
