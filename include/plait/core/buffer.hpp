// Aligned memory of weights, state and workspace: owned, or borrowed and read-only.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/macros.hpp>
#include <plait/core/sentence.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

PLAIT_NAMESPACE_BEGIN

/// A zero-filled array of a trivially copyable type. A kernel may load whole vector registers from
/// anywhere inside.
/// Shapes: `size` in values; 64-byte aligned, with 128 readable bytes (two vector registers) past
///   the end. Borrowed memory has the same alignment and slack
/// Errors:
///   - `out of memory: … values of … bytes are needed`: also for a size that is negative or
///     overflows
///   - `these weights are borrowed (from a packed file, for instance) and cannot be changed; load
///     the checkpoint to change them`: from `data` and `operator[]` of a buffer that is not const
/// Cost: one allocation. Below 4 MiB (`mapped_bytes`) one pass zeroes it. From 4 MiB on the memory
///   is zero pages of the system, huge ones where it has them: a page is committed by the thread
///   that first writes it, and an unwritten page never. Moving is free, copying not possible
/// Test: tests/unit/core/buffer_test.cpp
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::int64_t alignment = 64;
  static constexpr std::int64_t slack_bytes = 128;
  static constexpr std::int64_t mapped_bytes = std::int64_t{4} << 20;

  buffer() = default;
  // Defined below, so that the compiler emits calls: a model has hundreds of buffers, and inlined
  // destructors take most of its compile time.
  buffer(buffer&&) noexcept;
  buffer& operator=(buffer&&) noexcept;
  ~buffer();
  explicit buffer(std::int64_t size) : size_(size) {
    if (size == 0) return;
    constexpr std::int64_t max_size =
        INT64_MAX / static_cast<std::int64_t>(sizeof(T)) - 2 * slack_bytes;
    void* memory = nullptr;
    std::size_t mapped = 0;
    if (size > 0 && size <= max_size) {
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
      throw error(sentence("out of memory: {} values of {} bytes are needed", size, sizeof(T)));
    data_ = {static_cast<T*>(memory), {.mapped = mapped}};
  }

  /// Read-only memory that lives as long as `owner`; `owner` is null where the caller keeps it
  /// alive.
  static buffer borrow(T const* data, std::int64_t size, std::shared_ptr<void const> const& owner) {
    buffer b;
    // The const_cast is safe: data() of a borrowed buffer throws unless the buffer is const.
    b.data_ = {const_cast<T*>(data), {.borrowed = true, .owner = owner}};
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
    std::size_t mapped = 0;  // bytes of zero pages; 0: memory of the heap
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

  /// Null where the system has no anonymous mappings.
  static void* zero_pages([[maybe_unused]] std::size_t bytes) {
#if defined(MAP_ANONYMOUS)
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
    (void)::madvise(memory, bytes, MADV_HUGEPAGE);  // advice; its failure changes no result
#endif
    return memory;
#else
    return nullptr;
#endif
  }

  [[noreturn]] static void refuse_change() {
    throw error(
        "these weights are borrowed (from a packed file, for instance) and cannot be changed; load "
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
