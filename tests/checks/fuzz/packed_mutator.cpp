// libFuzzer's mutations of a packed file's header or data, with lengths and checksums corrected,
// without which no mutation is accepted.
#include <plait/io/files/packed_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  plait::io::packed_prefix prefix;
  constexpr std::size_t first = sizeof prefix;
  if (size < first || max_size < 2 * first || seed % 8 == 0)
    return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(&prefix, data, first);
  auto const length =
      static_cast<std::size_t>(std::min<std::uint64_t>(prefix.header_bytes, size - first));
  std::vector<std::uint8_t> header(data + first, data + first + length),
      tensors(data + first + length, data + size);
  bool const of_header = seed % 8 < 7;
  std::vector<std::uint8_t>& part = of_header ? header : tensors;
  while (of_header && !part.empty() && part.back() == ' ') part.pop_back();
  std::size_t const other = of_header ? tensors.size() : header.size(),
                    room = max_size - first - std::min(max_size - first, other + 64);
  std::size_t const before = std::min(part.size(), room);
  part.resize(std::max<std::size_t>(room, 1));
  part.resize(LLVMFuzzerMutate(part.data(), before, part.size()));
  header.resize((header.size() + 63) / 64 * 64, ' ');
  if (first + header.size() + tensors.size() > max_size)
    return LLVMFuzzerMutate(data, size, max_size);
  prefix.header_bytes = header.size();
  prefix.file_bytes = first + header.size() + tensors.size();
  prefix.header_checksum = plait::io::xxh64::of(std::as_bytes(std::span(header)));
  prefix.checksum = prefix.sum();
  std::memcpy(data, &prefix, first);
  std::copy(header.begin(), header.end(), data + first);
  std::copy(tensors.begin(), tensors.end(), data + first + header.size());
  return static_cast<std::size_t>(prefix.file_bytes);
}
