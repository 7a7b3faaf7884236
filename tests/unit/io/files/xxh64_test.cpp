#include <plait/io/files/xxh64.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

using plait::io::xxh64;

TEST_CASE(
    "xxh64: as the reference implementation, xxHash 0.8, for every path through it, in pieces of "
    "any size") {
  std::pair<std::size_t, std::uint64_t> const expected[] = {
      {0, 0xef46db3751d8e999u},  {1, 0xf592c0c7639c4cb6u},   {3, 0x22c08528601d4f27u},
      {4, 0xfb1e5cf2f1ae4d95u},  {7, 0x5613ac510496c04eu},   {8, 0x57cb2b7521f3e21au},
      {12, 0x2f53b00266039e64u}, {15, 0x90a9714eb00e8d29u},  {31, 0xe4a0e629e519a4aeu},
      {32, 0xcc6b8aaada790b2du}, {33, 0x35ec49850475a832u},  {63, 0xbf9f0ba3cf95b28au},
      {64, 0x155ccce4bf32befcu}, {100, 0x4826e367566ea023u}, {1000, 0x128da10cfbdc59d9u}};
  for (auto const& [n, sum] : expected) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < n; ++i)
      bytes.push_back(static_cast<std::byte>((i * 37 + 11) % 256));
    std::span<std::byte const> const all(bytes);
    CHECK(xxh64::of(all) == sum);
    for (std::size_t piece : {1u, 5u, 31u, 32u, 33u, 64u, 70u}) {
      xxh64 h;
      for (std::size_t i = 0; i < n; i += piece) h.add(all.subspan(i, std::min(piece, n - i)));
      CHECK(h.value() == sum);
      CHECK(h.value() == sum);  // asking changes nothing
    }
  }
}
