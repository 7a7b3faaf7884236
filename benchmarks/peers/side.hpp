// Shared by the programs of the comparison: the form of a measurement, clocks, memory, the
// bandwidth probe, the scoring of text, and files of ids and logits.
#pragma once

#include <nlohmann/json.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace side {

/// Prints a measurement as a line of JSON on standard output.
inline void print(nlohmann::json const& line) { std::cout << line.dump() << std::endl; }

/// Seconds of one call.
template <class Work>
double seconds(Work&& work) {
  auto const start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A line of /proc/self/status, in MiB: VmHWM is the largest resident set of the process, RssAnon
/// the present one without files.
inline double status_mib(std::string const& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) / 1024;
  throw std::runtime_error("/proc/self/status has no " + key);
}

/// Random token ids; the same seed gives the same ids.
inline std::vector<std::int32_t> random_ids(std::uint32_t seed, std::int64_t count,
                                            std::int64_t vocab_size) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids)
    id = static_cast<std::int32_t>(static_cast<std::int64_t>(random()) % vocab_size);
  return ids;
}

/// The bandwidth of memory: reads a GiB with all threads, from huge pages, one stream per thread.
class bandwidth_probe {
 public:
  explicit bandwidth_probe(int threads) : threads_(threads) {
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, bytes, MADV_HUGEPAGE);
    data_ = static_cast<std::uint64_t*>(memory);
    on_all_threads([&](std::size_t first, std::size_t end) {
      std::fill(data_ + first, data_ + end, first + 1);
    });
  }
  bandwidth_probe(bandwidth_probe const&) = delete;
  ~bandwidth_probe() { ::munmap(data_, bytes); }

  /// GB/s: the median of five passes.
  double operator()() {
    std::vector<double> passes(5);
    for (double& pass : passes)
      pass = double(bytes) / 1e9 / seconds([&] {
               on_all_threads([&](std::size_t first, std::size_t end) {
                 std::uint64_t sum = 0;
                 for (std::size_t i = first; i < end; ++i) sum += data_[i];
                 std::uint64_t volatile const used = sum;
                 static_cast<void>(used);
               });
             });
    std::nth_element(passes.begin(), passes.begin() + 2, passes.end());
    return passes[2];
  }

 private:
  static constexpr std::size_t bytes = std::size_t{1} << 30, values = bytes / sizeof(std::uint64_t);

  template <class Work>
  void on_all_threads(Work const& work) {
    std::vector<std::jthread> team;
    auto const n = static_cast<std::size_t>(threads_);
    for (std::size_t t = 0; t < n; ++t)
      team.emplace_back([&work, t, n] { work(values * t / n, values * (t + 1) / n); });
  }

  int threads_;
  std::uint64_t* data_;
};

/// Scores a text whose bytes are token ids, in windows of `window` bytes, each from an empty state
/// and without its first byte. `logits(ids)` returns [ids, vocab_size] logits.
inline nlohmann::json score(
    std::string const& path, std::size_t window, std::size_t vocab_size,
    std::function<float const*(std::vector<std::int32_t> const&)> const& logits) {
  std::ifstream file(path, std::ios::binary);
  std::string const text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.size() < 2)
    throw std::runtime_error(path + ": cannot be read, or holds fewer than two bytes");
  double bits = 0;
  std::int64_t scored = 0;
  for (std::size_t at = 0; at + 1 < text.size(); at += window) {
    std::vector<std::int32_t> ids;
    for (char c : text.substr(at, window)) ids.push_back(static_cast<unsigned char>(c));
    float const* row = logits(ids);
    for (std::size_t t = 0; t + 1 < ids.size(); ++t, ++scored, row += vocab_size) {
      float const max = *std::max_element(row, row + vocab_size);
      double total = 0;
      for (std::size_t v = 0; v < vocab_size; ++v) total += std::exp(double{row[v]} - double{max});
      bits += std::log2(total) + (double{max} - double{row[ids[t + 1]]}) / std::log(2.0);
    }
  }
  double const bits_per_byte = bits / double(scored);
  return {{"what", "bits"},
          {"scored", scored},
          {"bits_per_byte", bits_per_byte},
          {"perplexity", std::exp2(bits_per_byte)}};
}

/// Reads raw int32 token ids.
inline std::vector<std::int32_t> read_ids(std::string const& path, std::int64_t vocab_size) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; file.read(reinterpret_cast<char*>(&id), sizeof id);) {
    if (id < 0 || id >= vocab_size)
      throw std::runtime_error(path + ": id " + std::to_string(id) + " is outside the vocabulary");
    ids.push_back(id);
  }
  if (ids.empty()) throw std::runtime_error(path + ": cannot be read, or is empty");
  return ids;
}

/// Writes raw f32.
inline void write_floats(std::string const& path, float const* data, std::int64_t count) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<char const*>(data), count * std::int64_t{sizeof(float)});
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

}  // namespace side
