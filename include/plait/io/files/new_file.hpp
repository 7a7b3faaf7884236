// A file that appears complete or not at all.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/fail.hpp>

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

/// A temporary file ".plait-PROCESS-NUMBER.tmp" beside the target, renamed onto it by commit(). A
/// destructor without a commit removes the temporary, and the target stays as it was.
/// Equation: write, `finish` (fsync), `commit` (rename)
/// Shapes: `bytes` in bytes. A target that is a symbolic link is replaced itself, not the file it
///   points to
/// Errors: after an error the object can only be destroyed; the target stays as it was
/// Cost: a buffer of 64 KiB, which larger writes bypass; one fsync in `finish`
/// Source: POSIX: rename replaces a name atomically
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
      fail(path_, "cannot be written: {}", errno_text(errno));
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

  /// Flushes and synchronizes the temporary; no write may follow.
  void finish() {
    if (file_ < 0) return;
    flush();
    buffer_ = {};
    if (::fsync(file_) != 0) fail(path_, "cannot be written: {}", errno_text(errno));
    int const closed = ::close(std::exchange(file_, -1));
    if (closed != 0) fail(path_, "cannot be written: {}", errno_text(errno));
  }

  /// Renames the temporary onto the target. The new name survives a crash of the machine only after
  /// sync_directory.
  void commit() {
    if (committed()) fail(path_, "was committed before");
    finish();
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail(path_, "cannot be replaced: {}", errno_text(errno));
    temporary_.clear();
  }

  /// The directory of a path with its slash, or "" for the working directory.
  static std::string directory_of(std::string const& path) {
    return path.substr(0, path.rfind('/') + 1);
  }

  /// The process id in the name of a temporary, or 0 for any other name.
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
      std::string const name =
          sentence("{}.plait-{}-{}.tmp", directory_of(path_), ::getpid(), counter++);
      file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ >= 0) {
        temporary_ = name;
        return;
      }
      if (errno != EEXIST) break;
    }
    fail(path_, "cannot be written: a temporary file beside it cannot be created: {}",
         errno_text(errno));
  }

  void flush() {
    put(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  void put(std::byte const* at, std::size_t bytes) {
    while (bytes > 0) {
      ssize_t const n = ::write(file_, at, std::min<std::size_t>(bytes, std::size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(path_, "cannot be written: {}", errno_text(n < 0 ? errno : EIO));
      at += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }

  std::string path_, temporary_;
  std::vector<std::byte> buffer_;
  int file_ = -1;
};

/// Synchronizes a directory ("" is the working directory), so that its names survive a crash of the
/// machine. Returns 0, also where the file system does not support it, or the errno.
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
