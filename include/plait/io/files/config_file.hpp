// The config.json of a checkpoint.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Largest config.json that is read, in bytes.
inline constexpr std::size_t max_config_bytes = std::size_t{16} << 20;

/// The config.json of directory `path`; `path` itself if it is not a directory.
inline std::string config_path(std::string const& path) {
  struct stat status {};
  bool const is_directory = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  return is_directory ? path + (path.ends_with('/') ? "" : "/") + "config.json" : path;
}

/// A config.json, parsed: one JSON object. `file` is for error messages.
/// Shapes: at most 16 MiB; `path` is a checkpoint directory or the file itself
/// Errors: those of json.hpp and mapped_file.hpp, and those of this file
/// Cost: reads the file once; keeps its JSON, not its text
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp,
///   tests/unit/models/mixtral/checkpoint_test.cpp, tests/checks/fuzz/config.cpp
class config_file {
 public:
  explicit config_file(std::string const& path) {
    mapped_file const mapped(config_path(path));
    file_ = mapped.path();
    if (mapped.bytes().size() > max_config_bytes)
      fail(file_, "has {} bytes; at most {} are read", mapped.bytes().size(), max_config_bytes);
    parse(mapped.text());
  }
  /// Parses a text in memory.
  config_file(std::string_view text, std::string file) : file_(std::move(file)) { parse(text); }

  std::string const& file() const { return file_; }
  nlohmann::json const& root() const { return root_; }
  /// The text to write: one key per line.
  std::string text() const { return root_.dump(2) + "\n"; }

 private:
  void parse(std::string_view text) {
    root_ = parse_json(text, file_);
    if (!root_.is_object()) fail(file_, "is not a JSON object");
  }

  std::string file_;
  nlohmann::json root_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
