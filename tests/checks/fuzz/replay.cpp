// Runs every file of directories through a target, with any compiler, as a regression test.
#include "target.hpp"

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i)
    for (auto const& entry : std::filesystem::directory_iterator(argv[i]))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  int findings = 0;
  for (auto const& file : files) {
    std::ifstream in(file, std::ios::binary);
    std::vector<char> const bytes{std::istreambuf_iterator<char>(in), {}};
    // Of exactly this size: a sanitizer reports a read of the next byte.
    std::unique_ptr<std::uint8_t[]> const exact(new std::uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    try {
      if (!in) throw std::runtime_error("cannot be read");
      (void)LLVMFuzzerTestOneInput(exact.get(), bytes.size());
    } catch (std::exception const& e) {
      std::printf("%s: %s\n", file.c_str(), e.what());
      ++findings;
    }
  }
  std::printf("%zu inputs, %d findings\n", files.size(), findings);
  return findings == 0 && !files.empty() ? 0 : 1;
}
