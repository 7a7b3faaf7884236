// libFuzzer's mutations of a safetensors file, with the header's length corrected, without which
// the first eight bytes decide nearly every result.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  if (size < 8 || max_size < 16 || seed % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::uint64_t stated = 0;
  std::memcpy(&stated, data, 8);
  auto const header = static_cast<std::size_t>(std::min<std::uint64_t>(stated, size - 8));
  std::vector<std::uint8_t> const tail(data + 8 + header, data + size);
  std::uint64_t const length = LLVMFuzzerMutate(data + 8, header, max_size - 8 - tail.size());
  std::memcpy(data, &length, 8);
  std::copy(tail.begin(), tail.end(), data + 8 + length);
  return 8 + static_cast<std::size_t>(length) + tail.size();
}
