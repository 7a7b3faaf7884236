// A block of the emulator.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/sentence.hpp>
#include <plait/emulator/fibers.hpp>
#include <plait/gpu/block.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace emulator {

/// A thread's view of its block, on fibers; models kernels::block (gpu/block.hpp). Reductions and
/// scans take values in the order of threads; mma sums 16 products in the order of k, in f32.
///
/// Errors: plait::error where a shuffle names no lane of the warp, or copy_async an address that
///   is no multiple of 16.
/// Test: tests/unit/emulator/block_test.cpp
template <int Threads>
class block {
 public:
  static constexpr int threads = Threads;
  struct reduce_space {
    float values[Threads];
  };
  template <class T>
  struct scan_space {
    T values[Threads];
  };

  block(fibers& f, int thread, launch_grid const& at, launch_grid const& grid)
      : fibers_(f), thread_(thread), at_(at), grid_(grid) {}

  int thread() const { return thread_; }
  int lane() const { return thread_ % kernels::warp_size; }
  int warp() const { return thread_ / kernels::warp_size; }
  std::int64_t x() const { return at_.x; }
  std::int64_t y() const { return at_.y; }
  std::int64_t z() const { return at_.z; }
  std::int64_t grid_x() const { return grid_.x; }
  std::int64_t grid_y() const { return grid_.y; }
  void sync() const { fibers_.sync(); }
  void sync_warp() const { fibers_.sync_warp(); }

  template <class T>
  T shuffle(T value, int lane) const {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= fibers::slot_bytes);
    if (lane < 0 || lane >= kernels::warp_size)
      fibers_.fail(sentence("a shuffle from lane {}, expected 0 to 31", lane));
    fibers_.exchange(&value, sizeof(T));
    std::memcpy(&value, published(lane), sizeof(T));
    return value;
  }
  template <class T>
  T shuffle_xor(T value, int mask) const {
    return shuffle(value, lane() ^ mask);
  }

  void mma(float (&sums)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) const {
    std::uint32_t const given[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    fibers_.exchange(given, sizeof given);
    auto const element = [this](int lane, int reg, int upper) {
      std::uint32_t word;
      std::memcpy(&word, published(lane) + 4 * reg, 4);
      return from_bf16(static_cast<std::uint16_t>(word >> (16 * upper)));
    };
    for (int i = 0; i < 4; ++i) {
      int const row = lane() / 4 + 8 * (i / 2);
      int const col = lane() % 4 * 2 + i % 2;
      float sum = sums[i];
      for (int k = 0; k < 16; ++k) {
        float const left = element(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8), k % 2);
        float const right = element(col * 4 + k % 8 / 2, 4 + k / 8, k % 2);
        sum += left * right;
      }
      sums[i] = sum;
    }
  }

  /// Copies as late as allowed: when the copy is waited for. Until then `to` holds NaN.
  void copy_async(void* to, void const* from, bool valid = true) const {
    if (reinterpret_cast<std::uintptr_t>(to) % copy_bytes != 0)
      fibers_.fail("copy_async to an address that is no multiple of 16");
    if (reinterpret_cast<std::uintptr_t>(from) % copy_bytes != 0)
      fibers_.fail("copy_async from an address that is no multiple of 16");
    std::memset(to, 0xff, copy_bytes);
    copies_.push_back({to, from, valid, 0});
  }
  void commit_copies() const {
    for (copy& c : copies_) ++c.groups;
  }
  template <int Groups>
  void wait_for_copies() const {
    std::erase_if(copies_, [](copy const& c) {
      if (c.groups <= Groups) return false;
      if (c.valid)
        std::memcpy(c.to, c.from, copy_bytes);
      else
        std::memset(c.to, 0, copy_bytes);
      return true;
    });
  }

  float sum(reduce_space& space, float value) const {
    return reduce(space, value, [](float a, float b) { return a + b; });
  }
  float maximum(reduce_space& space, float value) const {
    return reduce(space, value, [](float a, float b) { return std::max(a, b); });
  }
  template <class T, int Items, class Op>
  void scan(scan_space<T>& space, T (&values)[Items], Op op, T& carry) const {
    for (int i = 1; i < Items; ++i) values[i] = op(values[i - 1], values[i]);
    space.values[thread_] = values[Items - 1];
    sync();
    T before = carry;
    T all = carry;
    for (int t = 0; t < Threads; ++t) {
      if (t == thread_) before = all;
      all = op(all, space.values[t]);
    }
    for (T& v : values) v = op(before, v);
    carry = all;
    sync();
  }

 private:
  static constexpr std::size_t copy_bytes = 16;
  struct copy {
    void* to;
    void const* from;
    bool valid;
    int groups;  ///< closed since the copy, its own included; 0 while its own is open
  };

  std::byte const* published(int lane) const {
    return static_cast<std::byte const*>(fibers_.published(warp() * kernels::warp_size + lane));
  }
  template <class Op>
  float reduce(reduce_space& space, float value, Op op) const {
    space.values[thread_] = value;
    sync();
    float all = space.values[0];
    for (int t = 1; t < Threads; ++t) all = op(all, space.values[t]);
    sync();
    return all;
  }

  fibers& fibers_;
  int thread_;
  mutable std::vector<copy> copies_;
  launch_grid at_;
  launch_grid grid_;
};

static_assert(kernels::block<block<kernels::warp_size>>);

}  // namespace emulator
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
