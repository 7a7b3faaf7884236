// Writes a safetensors file of f32 tensors; the file appears complete or not at all.
#pragma once

#include <plait/io/mapped_file.hpp>
#include <plait/io/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::io {

/// Declare every tensor, append their values in the order of declaration, in pieces of any size, then commit. All goes to a temporary
/// beside the target, which commit() renames onto it; without commit() the target stays as it was. The same calls write the same
/// bytes. transformers expects the metadata {"format": "pt"}. After a plait::error only destruction is of use.
class safetensors_writer {
 public:
  explicit safetensors_writer(std::string path, std::map<std::string, std::string> metadata = {})
      : path_(std::move(path)), metadata_(std::move(metadata)) {
    if (path_.empty() || path_.find('\0') != std::string::npos) fail(path_, "is not a path that can be written");
    struct stat status {};
    if (::stat(path_.c_str(), &status) == 0) {
      if (S_ISDIR(status.st_mode)) fail(path_, "cannot be written: it is a directory");
      if (!S_ISREG(status.st_mode)) fail(path_, "cannot be written: it is not a regular file");
    } else if (errno != ENOENT) {
      fail(path_, "cannot be written: " + reason(errno));
    }
    create_temporary();
  }
  safetensors_writer(safetensors_writer const&) = delete;
  safetensors_writer& operator=(safetensors_writer const&) = delete;
  ~safetensors_writer() {
    if (file_ >= 0) ::close(file_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  std::string const& path() const { return path_; }

  void declare(std::string name, std::vector<std::int64_t> shape) {
    if (begun_) refuse(name, "is declared after data was appended");
    if (name == "__metadata__") refuse(name, "has a name that the format reserves");
    if (shape.size() > max_safetensors_rank)
      refuse(name, "has " + std::to_string(shape.size()) + " dimensions; at most " + std::to_string(max_safetensors_rank) + " are written");
    std::int64_t bytes = sizeof(float), end = 0;
    for (std::int64_t const n : shape)
      if (n < 0 || __builtin_mul_overflow(bytes, n, &bytes)) refuse(name, "cannot have the shape " + shape_text(shape));
    if (__builtin_add_overflow(total_, bytes, &end)) refuse(name, "makes the file larger than 2^63 bytes");
    if (!names_.insert(name).second) refuse(name, "is declared twice");
    tensors_.push_back({std::move(name), std::move(shape), total_, end});
    total_ = end;
  }

  /// The next values of tensor `name`, which must be the one whose turn it is.
  void append(std::string_view name, std::span<float const> values) {
    begin();
    skip_complete();
    if (values.empty()) return;
    if (current_ == tensors_.size() || tensors_[current_].name != name)
      refuse(name, current_ == tensors_.size() ? "is appended after the last tensor was complete"
                                               : "is appended while " + in_quotes(tensors_[current_].name) + " is due");
    std::int64_t const left = (tensors_[current_].end - written_) / std::int64_t{sizeof(float)};
    if (values.size() > static_cast<std::uint64_t>(left))
      refuse(name, "gets " + std::to_string(values.size()) + " values, but only " + std::to_string(left) + " are missing");
    write(values.data(), values.size_bytes());
    written_ += static_cast<std::int64_t>(values.size_bytes());
  }

  /// Makes the file durable and puts it in the target's place.
  void commit() {
    begin();
    skip_complete();
    if (temporary_.empty()) fail(path_, "was committed before");
    if (current_ < tensors_.size()) refuse(tensors_[current_].name, "is not complete");
    if (::fsync(file_) != 0) fail(path_, "cannot be written: " + reason(errno));
    int const closed = ::close(std::exchange(file_, -1));
    if (closed != 0) fail(path_, "cannot be written: " + reason(errno));
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "cannot be replaced: " + reason(errno));
    temporary_.clear();
    // The file is in place whatever becomes of this: it makes the new name survive a crash where the file system offers that.
    if (int const directory = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); directory >= 0) {
      (void)::fsync(directory);
      ::close(directory);
    }
  }

 private:
  struct entry {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int64_t begin, end;  // bytes in the data
  };

  [[noreturn]] void refuse(std::string_view name, std::string const& sentence) const {
    fail(path_, "tensor " + in_quotes(name) + " " + sentence);
  }

  void create_temporary() {
    static std::atomic<unsigned> counter{0};
    std::size_t const slash = path_.rfind('/');
    directory_ = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    std::string const prefix = slash == std::string::npos ? std::string() : directory_;
    for (int attempt = 0; attempt < 1000; ++attempt) {
      std::string const name = prefix + ".plait-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
      file_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ >= 0) {
        temporary_ = name;
        return;
      }
      if (errno != EEXIST) break;
    }
    fail(path_, "cannot be written: a temporary file beside it cannot be made: " + reason(errno));
  }

  void begin() {
    if (std::exchange(begun_, true)) return;
    std::string header = "{";
    try {
      if (!metadata_.empty()) header.append("\"__metadata__\":").append(nlohmann::json(metadata_).dump()).append(",");
      for (entry const& t : tensors_)
        header.append(nlohmann::json(t.name).dump())
            .append(":{\"dtype\":\"F32\",\"shape\":")
            .append(nlohmann::json(t.shape).dump())
            .append(",\"data_offsets\":[")
            .append(std::to_string(t.begin))
            .append(",")
            .append(std::to_string(t.end))
            .append("]},");
    } catch (nlohmann::json::exception const& e) {
      fail(path_, std::string("a name or the metadata cannot be written: ") + printable(e.what()));
    }
    if (header.back() == ',') header.pop_back();
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    if (header.size() > max_safetensors_header)
      fail(path_, "cannot be written: its header would exceed " + std::to_string(max_safetensors_header) + " bytes");
    std::uint64_t const length = header.size();
    write(&length, sizeof length);
    write(header.data(), header.size());
  }

  void skip_complete() {
    while (current_ < tensors_.size() && written_ == tensors_[current_].end) ++current_;
  }

  void write(void const* data, std::size_t bytes) {
    if (file_ < 0) fail(path_, "was committed before");
    auto const* at = static_cast<std::byte const*>(data);
    while (bytes > 0) {
      ssize_t const n = ::write(file_, at, std::min<std::size_t>(bytes, std::size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(path_, "cannot be written: " + reason(n < 0 ? errno : EIO));
      at += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }

  std::string path_, directory_, temporary_;
  std::map<std::string, std::string> metadata_;
  std::vector<entry> tensors_;
  std::set<std::string> names_;
  std::size_t current_ = 0;
  std::int64_t written_ = 0, total_ = 0;
  int file_ = -1;
  bool begun_ = false;
};

}  // namespace plait::inline PLAIT_ABI::io
