// The input is the model.safetensors.index.json of a directory with two shards. A third file is
// outside of the directory: no index gives access to it.
#include "target.hpp"

#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/safetensors_writer.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <vector>

using namespace plait::io;
using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {

/// The directory, made once.
class stage {
 public:
  stage() {
    // On a file system in memory where there is one: every input writes the index.
    std::filesystem::path const memory = "/dev/shm";
    bool const usable = ::access(memory.c_str(), W_OK) == 0;
    std::string pattern =
        ((usable ? memory : std::filesystem::temp_directory_path()) / "plait-fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::runtime_error("no directory can be made at " + pattern);
    root_ = pattern;
    directory = root_ + "/x";
    std::filesystem::create_directory(directory);
    shard("x/1.safetensors", {"a", "c"});
    shard("x/2.safetensors", {"b.weight", "d"});
    shard("out.safetensors", {"out"});
    index_ = ::open((directory + "/model.safetensors.index.json").c_str(),
                    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (index_ < 0) throw std::runtime_error("no index can be made in " + directory);
  }
  stage(stage const&) = delete;
  stage& operator=(stage const&) = delete;
  ~stage() {
    ::close(index_);
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  void write_index(std::uint8_t const* data, std::size_t size) const {
    bool const written = ::pwrite(index_, data, size, 0) == static_cast<ssize_t>(size) &&
                         ::ftruncate(index_, static_cast<off_t>(size)) == 0;
    if (!written) throw std::runtime_error("the index cannot be written");
  }

  std::string directory;

 private:
  void shard(std::string const& name, std::vector<std::string> const& tensors) const {
    safetensors_writer file(root_ + "/" + name);
    for (std::string const& t : tensors) file.declare(t, {2});
    for (std::string const& t : tensors) file.append(t, std::vector<float>{1, 2});
    file.commit();
  }

  std::string root_;
  int index_ = -1;
};

void check(checkpoint const& all, std::string const& directory) {
  std::vector<std::string_view> const names = all.names();
  require(std::is_sorted(names.begin(), names.end()), "names are sorted");
  std::vector<std::string_view> first, second;
  for (std::string_view const name : names) {
    tensor_view const* const t = all.find(name);
    require(t != nullptr && t->name == name && &all.at(name) == t, "a tensor is found by its name");
    require(all.where(name) == t->file && t->file.substr(0, directory.size()) == directory,
            "a tensor knows its file");
    std::string_view const shard = t->file.substr(directory.size());
    require(shard == "/1.safetensors" || shard == "/2.safetensors",
            "no file but the shards is read");
    (shard == "/1.safetensors" ? first : second).push_back(name);
    require(read<float>(*t) == std::vector<float>{1, 2}, "values are read");
  }
  require(first.empty() || first == std::vector<std::string_view>{"a", "c"},
          "a shard is read whole");
  require(second.empty() || second == std::vector<std::string_view>{"b.weight", "d"},
          "a shard is read whole");
  require(!accepted(directory, [&] { (void)all.at("out"); }),
          "a tensor that is not there is refused");
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static stage const files;
  files.write_index(data, size);
  std::optional<checkpoint> all;
  if (accepted(files.directory, [&] { all.emplace(files.directory); }))
    check(*all, files.directory);
  return 0;
}
