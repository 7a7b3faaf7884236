// A regular file mapped read-only.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/fail.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The bytes of a regular file, mapped while this object lives.
/// Errors: if another process shortens the mapped file, access to the lost pages is fatal (SIGBUS),
///   as with any mapping
/// Cost: pages are read on first access; an empty file is not mapped
/// Test: tests/unit/io/files/safetensors_test.cpp, tests/unit/io/load_memory_test.cpp
class mapped_file {
 public:
  explicit mapped_file(std::string path) : path_(std::move(path)) {
    if (path_.find('\0') != std::string::npos)
      fail(path_, "cannot be opened: a path cannot contain a zero byte");
    // Without O_NONBLOCK, opening a FIFO would wait for a writer before fstat can refuse it.
    descriptor const file{::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
    if (file.number < 0) fail(path_, "cannot be opened: {}", errno_text(errno));
    struct stat status {};
    if (::fstat(file.number, &status) != 0)
      fail(path_, "cannot be examined: {}", errno_text(errno));
    if (S_ISDIR(status.st_mode)) fail(path_, "is a directory, not a file");
    if (!S_ISREG(status.st_mode)) fail(path_, "is not a regular file");
    if (status.st_size <= 0) return;  // mmap refuses a length of zero
    if (static_cast<std::uintmax_t>(status.st_size) > SIZE_MAX)
      fail(path_, "is larger than this machine's address space");
    size_ = static_cast<std::size_t>(status.st_size);
    void* const address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (address == MAP_FAILED) fail(path_, "cannot be mapped: {}", errno_text(errno));
    data_ = static_cast<std::byte const*>(address);
  }

  mapped_file(mapped_file&& other) noexcept
      : path_(std::move(other.path_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  mapped_file& operator=(mapped_file&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  /// Releases the memory of the pages that hold these bytes; the next access reads them from the
  /// file again. The range is widened to multiples of 64 KiB, the unit in which Linux maps pages of
  /// a file. Safe to call from any thread, also while others read.
  void drop(std::byte const* from, std::size_t bytes) const {
    if (data_ == nullptr || bytes == 0) return;
    constexpr std::uintptr_t run = std::uintptr_t{64} << 10;
    auto const file_begin = reinterpret_cast<std::uintptr_t>(data_);
    auto const first = reinterpret_cast<std::uintptr_t>(from);
    auto const begin = std::max(first / run * run, file_begin);
    auto const end = std::min((first + bytes + run - 1) / run * run, file_begin + size_);
    // A hint: the result does not matter.
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

  ~mapped_file() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::string const& path() const { return path_; }
  std::span<std::byte const> bytes() const { return {data_, size_}; }
  std::string_view text() const {
    return data_ == nullptr ? std::string_view{}
                            : std::string_view{reinterpret_cast<char const*>(data_), size_};
  }

 private:
  struct descriptor {
    int number;
    explicit descriptor(int n) : number(n) {}
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    ~descriptor() {
      if (number >= 0) ::close(number);
    }
  };

  std::string path_;
  std::byte const* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
