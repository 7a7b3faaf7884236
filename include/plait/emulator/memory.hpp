// The emulator's memory policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/emulator/sanitizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace emulator {

/// A device's memory on the heap; a memory policy (core/memory.hpp). Under AddressSanitizer only
/// kernels and the copies below may access it: an access by the host is reported. The registry of
/// its regions is shared by all devices of the process and locked.
///
/// Test: tests/unit/exec/device_test.cpp, tests/unit/gpu/device_storage_test.cpp
class memory {
  struct allocation;

 public:
  /// An array at a multiple of 256 bytes, initially zero. plait::error for a negative size.
  template <class T>
  class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

   public:
    buffer() = default;
    explicit buffer(std::int64_t size) : size_(size) {
      if (size < 0)
        throw error(sentence("exec::emulated: a buffer of {} values, expected 0 or more", size));
      if (size > 0)
        data_ = std::make_unique<allocation>(static_cast<std::size_t>(size) * sizeof(T));
    }
    T* data() { return data_ ? reinterpret_cast<T*>(data_->bytes) : nullptr; }
    T const* data() const { return data_ ? reinterpret_cast<T const*>(data_->bytes) : nullptr; }
    std::int64_t size() const { return size_; }

   private:
    std::unique_ptr<allocation> data_;
    std::int64_t size_ = 0;
  };

  /// Copies within the device's memory.
  template <class T>
  static void copy(T const* from, std::int64_t n, T* to) {
    access const allowed;
    std::copy_n(from, n, to);
  }
  template <class T>
  static void clear(T* at, std::int64_t n) {
    access const allowed;
    std::fill_n(at, n, T{});
  }
  /// Copies from the host.
  template <class T>
  static void copy_in(T const* from, std::int64_t n, T* to) {
    copy(from, n, to);
  }
  /// Copies to the host.
  template <class T>
  static void copy_out(T const* from, std::int64_t n, T* to) {
    copy(from, n, to);
  }

  /// While an `access` object exists, the host may access the device's memory, as a kernel does.
  class access {
   public:
    access() { change_depth(1); }
    ~access() { change_depth(-1); }
    access(access const&) = delete;

   private:
    static void change_depth([[maybe_unused]] int by) {
      if constexpr (address_sanitizer) {
        std::lock_guard const lock(all().mutex);
        all().depth += by;
        if (all().depth == (by > 0 ? 1 : 0))
          for (std::span<std::byte> const r : all().regions) guard(r, by < 0);
      }
    }
  };

 private:
  /// Regions that AddressSanitizer guards.
  struct registry {
    std::mutex mutex;
    std::vector<std::span<std::byte>> regions;
    int depth = 0;  ///< number of `access` objects
  };
  static registry& all() {
    static registry& r = *new registry;  // outlives static models
    return r;
  }
  static void guard([[maybe_unused]] std::span<std::byte> r, [[maybe_unused]] bool closed) {
#if PLAIT_EMULATOR_ASAN
    if (closed)
      __asan_poison_memory_region(r.data(), r.size());
    else
      __asan_unpoison_memory_region(r.data(), r.size());
#endif
  }

  struct allocation {
    static constexpr std::align_val_t alignment{256};
    std::byte* bytes;
    std::size_t size;

    explicit allocation(std::size_t n) : bytes(new (alignment) std::byte[n]), size(n) {
      std::memset(bytes, 0, n);
      if constexpr (address_sanitizer) {
        std::lock_guard const lock(all().mutex);
        all().regions.emplace_back(bytes, size);
        if (all().depth == 0) guard(all().regions.back(), true);
      }
    }
    ~allocation() {
      if constexpr (address_sanitizer) {
        std::lock_guard const lock(all().mutex);
        guard({bytes, size}, false);
        std::erase_if(all().regions, [this](auto const& r) { return r.data() == bytes; });
      }
      ::operator delete[](bytes, alignment);
    }
    allocation(allocation const&) = delete;
  };
};

}  // namespace emulator
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
