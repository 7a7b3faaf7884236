// Copies of a call's lists in the memory of a device.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/call.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// The lists of a call, copied to the device as one block.
///
/// The numbers by which the host chooses grids are rounded up to powers of two: so most decode
/// steps have the same shape, and a captured step can be replayed with other lists.
///
/// State: one block of the device's memory, which grows, and the host's copy of it
/// Cost: one copy to the device: 16 bytes per sequence and token, 8 per page of 64 tokens
/// Test: tests/unit/exec/device_test.cpp
template <class Memory>
class staged_inputs {
 public:
  /// `from` with its lists in the device's memory, copied there by runtime.copy_to_device; valid
  /// until the next call. Calls before_move() before it frees a block that has become too small.
  template <class T, class Runtime, class BeforeMove>
  call_inputs<T> stage(call_inputs<T> const& from, Runtime& runtime,
                       BeforeMove const& before_move) {
    sequences<T> const& s = from.seqs;
    auto const count = static_cast<std::size_t>(s.count);
    std::int64_t const rows = s.total();
    call_inputs<T> to = from;
    to.seqs.rows = rows;
    set_limits(s, to.seqs);
    std::int64_t const table_pages = to.seqs.context / page_tokens;

    layout lists;
    to.seqs.first_row = lists.template add<std::int64_t>(s.count + 1);
    to.seqs.length = lists.template add<std::int64_t>(s.count);
    to.seqs.state = lists.template add<typename sequences<T>::state_type*>(s.count);
    to.seqs.pages = lists.template add<std::byte* const*>(s.count);
    to.ids = lists.template add<std::int32_t>(from.ids != nullptr ? rows : 0);
    to.wanted = lists.template add<std::int64_t>(from.wanted != nullptr ? from.outputs : 0);
    std::byte* const* const tables =
        lists.template add<std::byte*>(s.pages != nullptr ? s.count * table_pages : 0);
    if (lists.bytes > device_.size()) {
      before_move();
      device_ = typename Memory::template buffer<std::byte>(2 * lists.bytes);
    }
    host_.resize(static_cast<std::size_t>(lists.bytes));

    // Copies a list to its offset in the host's block and turns the offset into an address.
    auto const put = [&](auto const*& list, auto const* values, std::int64_t n) {
      std::size_t const offset = reinterpret_cast<std::size_t>(list);
      if (n > 0)
        std::memcpy(host_.data() + offset, values, static_cast<std::size_t>(n) * sizeof(*values));
      list = reinterpret_cast<std::remove_reference_t<decltype(list)>>(device_.data() + offset);
    };
    if (table_of_.size() < count) table_of_ = std::vector<std::byte* const*>(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t const offset = reinterpret_cast<std::size_t>(tables) +
                                 i * static_cast<std::size_t>(table_pages) * sizeof(std::byte*);
      table_of_[i] = reinterpret_cast<std::byte* const*>(device_.data() + offset);
      std::int64_t const pages =
          (s.length[i] + s.first_row[i + 1] - s.first_row[i] + page_tokens - 1) / page_tokens;
      if (s.pages != nullptr && s.pages[i] != nullptr && pages > 0)
        std::memcpy(host_.data() + offset, s.pages[i],
                    static_cast<std::size_t>(pages) * sizeof(std::byte*));
    }
    put(to.seqs.first_row, s.first_row, s.count + 1);
    put(to.seqs.length, s.length, s.count);
    put(to.seqs.state, s.state, s.state != nullptr ? s.count : 0);
    put(to.seqs.pages, table_of_.data(), s.count);
    put(to.ids, from.ids, from.ids != nullptr ? rows : 0);
    if (from.wanted != nullptr) put(to.wanted, from.wanted, from.outputs);
    if (from.ids == nullptr) to.ids = nullptr;
    runtime.copy_to_device(device_.data(), host_.data(), lists.bytes);
    return to;
  }

 private:
  /// Arrays one after another at multiples of 16 bytes. A pointer is an offset until the block has
  /// an address.
  struct layout {
    std::int64_t bytes = 0;
    template <class T>
    T* add(std::int64_t n) {
      std::int64_t const offset = bytes;
      bytes += (n * static_cast<std::int64_t>(sizeof(T)) + 15) / 16 * 16;
      return reinterpret_cast<T*>(offset);
    }
  };

  /// Largest number of new tokens, of all tokens and of cached tokens of a sequence.
  template <class T>
  static void set_limits(sequences<T> const& s, sequences<T>& to) {
    auto const power_of_two = [](std::int64_t n) {
      return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)));
    };
    std::int64_t context = page_tokens;
    to.cached = 0;
    for (std::int64_t i = 0; i < s.count; ++i) {
      std::int64_t const tokens = s.first_row[i + 1] - s.first_row[i];
      to.longest = std::max(to.longest, tokens);
      context = std::max(context, s.length[i] + tokens);
      to.cached = std::max(to.cached, s.length[i]);
    }
    if (to.cached > 0) to.cached = power_of_two(to.cached);
    to.context = power_of_two(context);
  }

  typename Memory::template buffer<std::byte> device_;
  std::vector<std::byte> host_;
  std::vector<std::byte* const*> table_of_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
