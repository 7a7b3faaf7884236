// XXH64 with seed 0: the checksum of packed files.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

PLAIT_NAMESPACE_BEGIN
namespace io {

static_assert(std::endian::native == std::endian::little,
              "plait: checksums read words of memory as little-endian");

/// XXH64 with seed 0 of a sequence of bytes, added in pieces of any size.
/// Equation: independent of how the bytes are cut into pieces. Random damage goes unnoticed with
///   probability 2^-64; deliberate forgery is not detected
/// Cost: one pass in four independent chains of 8 bytes each, about 10 GB/s
/// Source: Yann Collet, the xxHash fast digest algorithm, doc/xxhash_spec.md of
///   github.com/Cyan4973/xxHash
/// Test: tests/unit/io/files/xxh64_test.cpp, against the reference implementation's values
class xxh64 {
 public:
  xxh64& add(std::span<std::byte const> bytes) {
    total_ += bytes.size();
    if (pending_bytes_ > 0) {
      std::size_t const n = std::min(bytes.size(), sizeof pending_ - pending_bytes_);
      std::memcpy(pending_ + pending_bytes_, bytes.data(), n);
      pending_bytes_ += n;
      bytes = bytes.subspan(n);
      if (pending_bytes_ < sizeof pending_) return *this;
      stripes(pending_, 1);
      pending_bytes_ = 0;
    }
    std::size_t const blocks = bytes.size() / sizeof pending_;
    stripes(bytes.data(), blocks);
    bytes = bytes.subspan(blocks * sizeof pending_);
    if (!bytes.empty()) std::memcpy(pending_, bytes.data(), bytes.size());
    pending_bytes_ = bytes.size();
    return *this;
  }

  std::uint64_t value() const {
    std::uint64_t h = p5;
    if (total_ >= sizeof pending_) {
      h = std::rotl(lane_[0], 1) + std::rotl(lane_[1], 7) + std::rotl(lane_[2], 12) +
          std::rotl(lane_[3], 18);
      for (std::uint64_t const v : lane_) h = (h ^ round(0, v)) * p1 + p4;
    }
    h += total_;
    std::size_t i = 0;
    for (; i + 8 <= pending_bytes_; i += 8)
      h = std::rotl(h ^ round(0, word<std::uint64_t>(pending_ + i)), 27) * p1 + p4;
    for (; i + 4 <= pending_bytes_; i += 4)
      h = std::rotl(h ^ word<std::uint32_t>(pending_ + i) * p1, 23) * p2 + p3;
    for (; i < pending_bytes_; ++i)
      h = std::rotl(h ^ std::to_integer<std::uint64_t>(pending_[i]) * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
  }

  static std::uint64_t of(std::span<std::byte const> bytes) { return xxh64().add(bytes).value(); }

 private:
  static constexpr std::uint64_t p1 = 0x9e3779b185ebca87u;
  static constexpr std::uint64_t p2 = 0xc2b2ae3d27d4eb4fu;
  static constexpr std::uint64_t p3 = 0x165667b19e3779f9u;
  static constexpr std::uint64_t p4 = 0x85ebca77c2b2ae63u;
  static constexpr std::uint64_t p5 = 0x27d4eb2f165667c5u;

  static std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
    return std::rotl(lane + input * p2, 31) * p1;
  }
  template <class Word>
  static Word word(std::byte const* at) {
    Word w;
    std::memcpy(&w, at, sizeof w);
    return w;
  }
  void stripes(std::byte const* at, std::size_t n) {
    // Local copies stay in registers: std::byte stores may alias members.
    std::uint64_t a = lane_[0];
    std::uint64_t b = lane_[1];
    std::uint64_t c = lane_[2];
    std::uint64_t d = lane_[3];
    for (; n > 0; --n, at += sizeof pending_) {
      a = round(a, word<std::uint64_t>(at));
      b = round(b, word<std::uint64_t>(at + 8));
      c = round(c, word<std::uint64_t>(at + 16));
      d = round(d, word<std::uint64_t>(at + 24));
    }
    lane_[0] = a;
    lane_[1] = b;
    lane_[2] = c;
    lane_[3] = d;
  }

  std::uint64_t lane_[4] = {p1 + p2, p2, 0, 0 - p1};
  std::uint64_t total_ = 0;
  std::size_t pending_bytes_ = 0;
  std::byte pending_[32] = {};
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
