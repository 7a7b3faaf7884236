// Files for tests of readers: a temporary directory, hostile bytes, and error messages.
#pragma once

#include <plait/core/error.hpp>

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::test {

class temporary_directory {
 public:
  temporary_directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "plait-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  temporary_directory(temporary_directory const&) = delete;
  temporary_directory& operator=(temporary_directory const&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string const& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string write(std::string_view name, std::string_view bytes) const {
    std::ofstream(*this / name, std::ios::binary) << bytes;
    return *this / name;
  }
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (auto const& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    return names;
  }

 private:
  std::string path_;
};

/// Limits the size of files while the object lives; writing more fails instead of ending the
/// process.
class file_size_limit {
 public:
  explicit file_size_limit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit const limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~file_size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

inline std::string contents(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string golden(std::string_view name) {
  return std::string(PLAIT_GOLDEN_DIR) + "/" + std::string(name);
}

/// The message of the plait::error that `action` throws, checked to be one printable line; "" where
/// it throws none.
template <class Action>
std::string refusal(Action&& action) {
  try {
    std::forward<Action>(action)();
  } catch (plait::error const& e) {
    std::string const what = e.what();
    for (char const c : what) CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
    CHECK(what.size() < 5000);
    return what;
  }
  return "";
}

inline bool contains(std::string const& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// A safetensors file with this header text, unchanged, and data.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::uint64_t const length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out.append(header).append(data);
}

}  // namespace plait::test

/// Checks that `action` throws a plait::error whose message contains each of the parts.
#define PLAIT_REFUSED(action, ...)                                                   \
  do {                                                                               \
    std::string const plait_refusal = plait::test::refusal([&] { (void)(action); }); \
    INFO("message: ", plait_refusal);                                                \
    for (std::string const& part : std::vector<std::string>{__VA_ARGS__}) {          \
      INFO("expected: ", part);                                                      \
      CHECK(plait::test::contains(plait_refusal, part));                             \
    }                                                                                \
    CHECK_FALSE(plait_refusal.empty());                                              \
  } while (false)
