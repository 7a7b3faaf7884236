// A file that appears complete or not at all: all goes to a temporary beside the target, which a
// rename puts in its place.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/message.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Everything written goes to a temporary beside the target, ".plait-<process>-<number>.tmp";
/// finish() makes it durable and commit() renames it onto the target. Writes are collected in a
/// buffer of 64 KiB, past which larger ones go; finish() is one fsync.
/// Equation: write, `finish` (fsync), `commit` (rename). Destroyed before that, it removes the
///   temporary, ".plait-PROCESS-NUMBER.tmp", and the target stays as it was. The new name survives
///   a crash of the machine after `sync_directory`, too
/// Shapes: `bytes` in bytes; `process_of` gives the process in a temporary's name, 0 for any other
///   name; `sync_directory` 0 or the errno; "" is the working directory. A target that is a link is
///   replaced, not what it leads to
/// Errors: after one of them only destruction is of use; the target is as it was
/// Cost: a buffer of 64 KiB, past which larger writes go; one fsync in `finish`
/// Source: POSIX: rename replaces a name in one step
/// Test: tests/unit/io/files/safetensors_writer_test.cpp, tests/unit/io/save_protocol_test.cpp
class new_file {
 public:
  explicit new_file(std::string path) : path_(std::move(path)) {
    if (path_.empty() || path_.find('\0') != std::string::npos)
      fail(path_, "is not a path that can be written");
    struct stat status {};
    if (::stat(path_.c_str(), &status) == 0) {
      if (S_ISDIR(status.st_mode)) fail(path_, "cannot be written: it is a directory");
      if (!S_ISREG(status.st_mode)) fail(path_, "cannot be written: it is not a regular file");
    } else if (errno != ENOENT) {
      fail(path_, "cannot be written: " + reason(errno));
    }
    create_temporary();
    buffer_.reserve(buffer_bytes);
  }
  new_file(new_file const&) = delete;
  new_file& operator=(new_file const&) = delete;
  ~new_file() {
    if (file_ >= 0) ::close(file_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  std::string const& path() const { return path_; }
  bool committed() const { return temporary_.empty(); }

  void write(void const* data, std::size_t bytes) {
    if (file_ < 0) fail(path_, "was committed before");
    auto const* const at = static_cast<std::byte const*>(data);
    if (buffer_.size() + bytes > buffer_bytes) flush();
    if (bytes >= buffer_bytes) return put(at, bytes);
    buffer_.insert(buffer_.end(), at, at + bytes);
  }
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// What was written has reached the disk. Nothing can be written after it.
  void finish() {
    if (file_ < 0) return;
    flush();
    buffer_ = {};
    if (::fsync(file_) != 0) fail(path_, "cannot be written: " + reason(errno));
    int const closed = ::close(std::exchange(file_, -1));
    if (closed != 0) fail(path_, "cannot be written: " + reason(errno));
  }

  /// Puts the file in the target's place. The new name survives a crash of the machine once its
  /// directory is synchronized, too.
  void commit() {
    if (committed()) fail(path_, "was committed before");
    finish();
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail(path_, "cannot be replaced: " + reason(errno));
    temporary_.clear();
  }

  /// The directory of a path, with the slash behind it; "" for the working directory.
  static std::string directory_of(std::string const& path) {
    return path.substr(0, path.rfind('/') + 1);
  }

  /// The process in the name of a temporary; 0 for any other name.
  static long process_of(std::string_view name) {
    if (!name.starts_with(".plait-") || !name.ends_with(".tmp")) return 0;
    long process = 0;
    std::size_t i = 7;
    for (; i < name.size() && name[i] >= '0' && name[i] <= '9' && process < 1'000'000'000; ++i)
      process = process * 10 + (name[i] - '0');
    return i < name.size() && name[i] == '-' ? process : 0;
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{64} << 10;

  void create_temporary() {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 1000; ++attempt) {
      std::string const name = directory_of(path_) + ".plait-" + std::to_string(::getpid()) + "-" +
                               std::to_string(counter++) + ".tmp";
      file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ >= 0) {
        temporary_ = name;
        return;
      }
      if (errno != EEXIST) break;
    }
    fail(path_, "cannot be written: a temporary file beside it cannot be made: " + reason(errno));
  }

  void flush() {
    put(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  void put(std::byte const* at, std::size_t bytes) {
    while (bytes > 0) {
      ssize_t const n = ::write(file_, at, std::min<std::size_t>(bytes, std::size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(path_, "cannot be written: " + reason(n < 0 ? errno : EIO));
      at += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }

  std::string path_, temporary_;
  std::vector<std::byte> buffer_;
  int file_ = -1;
};

/// Makes the names in a directory survive a crash of the machine, where the file system offers
/// that. Returns 0 or the errno.
inline int sync_directory(std::string const& directory) {
  int const file =
      ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return errno;
  int const failed = ::fsync(file) != 0 && errno != EINVAL && errno != ENOTSUP ? errno : 0;
  ::close(file);
  return failed;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
