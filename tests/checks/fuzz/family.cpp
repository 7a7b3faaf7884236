// The input is a config.json of any family. An accepted one becomes the source of an architecture,
// or is refused for parts that plait does not have, and is compared with architectures.
#include "target.hpp"

#include <plait/io/family.hpp>
#include <plait/policy.hpp>

#include <string>
#include <string_view>

using namespace plait::io;
using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {
constexpr char const* path = "config.json";
}

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  std::string source;
  if (accepted(path, [&] { source = architecture_source(config_file(text, path), "one"); })) {
    require(source.find("namespace one {") != source.npos, "a source has its namespace");
    require(std::all_of(source.begin(), source.end(),
                        [](char b) { return b == '\n' || (b >= 0x20 && b < 0x7f); }),
            "a source is plain text");
    config_file const again(config_file(text, path).text(), path);
    require(architecture_source(again, "one") == source, "what is written again says the same");
  }
  accepted(path, [&] { end_tokens(config_file(text, path)); });
  accepted(path, [&] { require_same(config_file(text, path), plait::configs::jamba_v0_1); });
  accepted(path, [&] { require_same(config_file(text, path), plait::configs::mixtral_8x7b); });
  return 0;
}
