// A file, mapped read-only. The bytes of a regular file while an object lives.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/message.hpp>

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
#include <system_error>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// What the system says of an errno, for messages.
inline std::string reason(int number) { return printable(std::generic_category().message(number)); }

/// The bytes of a regular file while this object lives. Another process that shortens the file
/// meanwhile makes touching the lost pages fatal (SIGBUS), as with any mapping.
/// Equation: after `drop` the pages of these bytes take no memory; touched again, they are read
///   again. Pages around them, in runs of 64 KiB, go too
/// Errors: another process that shortens the file meanwhile makes touching the lost pages fatal
///   (SIGBUS)
/// Cost: nothing is read before it is touched; an empty file is not mapped
/// Test: tests/unit/io/files/safetensors_test.cpp
class mapped_file {
 public:
  explicit mapped_file(std::string path) : path_(std::move(path)) {
    if (path_.find('\0') != std::string::npos)
      fail(path_, "cannot be opened: a path cannot contain a zero byte");
    // O_NONBLOCK: opening a FIFO without a writer would wait for one, before fstat can tell that it
    // is a FIFO.
    descriptor const file{::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
    if (file.number < 0) fail(path_, "cannot be opened: " + reason(errno));
    struct stat status {};
    if (::fstat(file.number, &status) != 0) fail(path_, "cannot be examined: " + reason(errno));
    if (S_ISDIR(status.st_mode)) fail(path_, "is a directory, not a file");
    if (!S_ISREG(status.st_mode)) fail(path_, "is not a regular file");
    if (status.st_size <= 0) return;  // mmap refuses a length of zero
    if (static_cast<std::uintmax_t>(status.st_size) > SIZE_MAX)
      fail(path_, "is larger than this machine's address space");
    size_ = static_cast<std::size_t>(status.st_size);
    void* const address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (address == MAP_FAILED) fail(path_, "cannot be mapped: " + reason(errno));
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

  /// These bytes have been read, and the memory of their pages may be used for others: touched
  /// again, they are read from the file again. Any thread may call it, also while others read. What
  /// was mapped with them goes too, in runs of 64 KiB, as Linux maps them.
  void drop(std::byte const* from, std::size_t bytes) const {
    constexpr std::uintptr_t run = std::uintptr_t{64} << 10;
    auto const begin = reinterpret_cast<std::uintptr_t>(data_),
               first = reinterpret_cast<std::uintptr_t>(from) / run * run,
               last = (reinterpret_cast<std::uintptr_t>(from) + bytes + run - 1) / run * run;
    if (data_ == nullptr || bytes == 0) return;
    auto const at = std::max(first, begin), end = std::min(last, begin + size_);
    (void)::madvise(reinterpret_cast<void*>(at), end - at, MADV_DONTNEED);  // a wish
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
