// Aligned memory for weights, state and workspace.
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/macros.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

namespace plait::inline PLAIT_ABI {

/// Zero-filled, 64-byte aligned array of a plain type, with room for two vector registers beyond its end, so that a kernel may load
/// whole registers from anywhere inside. Throws plait::error when memory runs out.
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::int64_t alignment = 64, slack_bytes = 128;

  buffer() = default;
  explicit buffer(std::int64_t size) : size_(size) {
    if (size == 0) return;
    constexpr std::int64_t most = INT64_MAX / static_cast<std::int64_t>(sizeof(T)) - 2 * slack_bytes;
    void* memory = nullptr;
    if (size > 0 && size <= most) {
      std::size_t const bytes = (static_cast<std::size_t>(size) * sizeof(T) + slack_bytes + alignment - 1) / alignment * alignment;
      memory = std::aligned_alloc(alignment, bytes);
      if (memory != nullptr) std::memset(memory, 0, bytes);
    }
    if (memory == nullptr)
      throw error("out of memory: " + std::to_string(size) + " values of " + std::to_string(sizeof(T)) + " bytes are needed");
    data_.reset(static_cast<T*>(memory));
  }

  T* data() { return data_.get(); }
  T const* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data_.get()[i]; }
  T const& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  struct release {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], release> data_;
  std::int64_t size_ = 0;
};

}  // namespace plait::inline PLAIT_ABI
