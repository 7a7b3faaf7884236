// The tensors of a checkpoint directory, in one file or in shards.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/safetensors.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Largest index that is read, in bytes.
inline constexpr std::size_t max_index_bytes = 100'000'000;
/// Longest name of a shard, in bytes: Linux's NAME_MAX.
inline constexpr std::size_t max_shard_name = 255;

/// The path of file `name` in `directory`, "" for the working directory.
inline std::string path_in(std::string const& directory, std::string_view name) {
  return directory + (directory.empty() || directory.ends_with('/') ? "" : "/") + std::string(name);
}

/// All tensors of a checkpoint directory by name. The constructor maps every file and reads its
/// header; tensors are not touched.
/// Equation: model.safetensors if it exists, else the shards that model.safetensors.index.json
///   lists, as in transformers; index and shards must agree on every name
/// Shapes: an index of at most 100 MB, shard names of at most 255 bytes; `names` is sorted; views
///   stay valid when the object is moved
/// Errors: those of json.hpp, mapped_file.hpp and safetensors.hpp, and:
///   - `has no tensor …`: thrown by `at`; `find` returns nullptr
/// Cost: reads the header of every file; a lookup is O(log tensors)
/// Test: tests/unit/io/files/checkpoint_test.cpp, tests/checks/fuzz/index.cpp
class checkpoint {
 public:
  explicit checkpoint(std::string directory) : directory_(std::move(directory)) {
    struct stat status {};
    if (::stat(directory_.c_str(), &status) != 0)
      fail(directory_, "cannot be opened: {}", errno_text(errno));
    if (!S_ISDIR(status.st_mode)) fail(directory_, "is not a directory");
    std::string const single = path_in(directory_, "model.safetensors");
    std::string const index = path_in(directory_, "model.safetensors.index.json");
    if (exists(single)) {
      files_.emplace_back(single);
      source_ = single;
      for (tensor_view const& t : files_.back()) tensors_.push_back(&t);
    } else if (exists(index)) {
      source_ = index;
      read_shards(index);
    } else {
      fail(directory_, "has neither model.safetensors nor model.safetensors.index.json");
    }
  }

  std::string const& directory() const { return directory_; }

  /// The tensor of this name, or nullptr.
  tensor_view const* find(std::string_view name) const {
    auto const it =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](tensor_view const* t, std::string_view n) { return t->name < n; });
    return it != tensors_.end() && (*it)->name == name ? *it : nullptr;
  }
  /// The tensor of this name; throws plait::error if it does not exist.
  tensor_view const& at(std::string_view name) const {
    tensor_view const* const t = find(name);
    if (t == nullptr) fail(source_, "has no tensor {}", in_quotes(name));
    return *t;
  }

  /// The names of all tensors, sorted.
  std::vector<std::string_view> names() const {
    std::vector<std::string_view> out;
    for (tensor_view const* t : tensors_) out.push_back(t->name);
    return out;
  }

  /// The file that an error about this tensor names: its own, or the one that should have listed
  /// it.
  std::string_view where(std::string_view name) const {
    tensor_view const* const t = find(name);
    return t != nullptr ? t->file : std::string_view(source_);
  }

  /// Releases the memory of elements [first, first + count) of tensor t (mapped_file::drop).
  void drop(tensor_view const& t, std::int64_t first, std::int64_t count) const {
    for (safetensors const& file : files_)
      if (file.path() == t.file) return file.drop(t, first, count);
  }

 private:
  static bool exists(std::string const& path) {
    // A dangling link counts: opening it gives an error, where ignoring it would read another file.
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
  }

  static void require_plain_name(std::string const& index, std::string const& shard) {
    bool const is_plain = !shard.empty() && shard != "." && shard.find("..") == std::string::npos &&
                          shard.find('/') == std::string::npos &&
                          shard.find('\\') == std::string::npos &&
                          shard.find('\0') == std::string::npos;
    if (!is_plain)
      fail(index, "names the shard {}; a shard is a file beside the index, named without a path",
           in_quotes(shard));
    // Bounds error messages, which give a shard's whole path.
    if (shard.size() > max_shard_name)
      fail(index, "names the shard {}, in {} bytes; a file's name has at most {}", in_quotes(shard),
           shard.size(), max_shard_name);
  }

  void read_shards(std::string const& index) {
    mapped_file const file(index);
    if (file.bytes().size() > max_index_bytes)
      fail(index, "is larger than {} bytes, too large for an index", max_index_bytes);
    nlohmann::json const root = parse_json(file.text(), index);
    if (!root.is_object()) fail(index, "is not a JSON object");
    if (auto const metadata = root.find("metadata"); metadata != root.end()) {
      if (!metadata->is_object()) fail(index, "metadata is not an object");
      if (auto const size = metadata->find("total_size");
          size != metadata->end() && !size->is_number())
        fail(index, "metadata.total_size is not a number");
    }
    auto const map = root.find("weight_map");
    if (map == root.end()) fail(index, "has no weight_map");
    if (!map->is_object()) fail(index, "weight_map is not an object");

    std::map<std::string, std::size_t> shards;  // from name to position in files_
    for (auto const& [name, shard] : map->get_ref<nlohmann::json::object_t const&>()) {
      if (!shard.is_string())
        fail(index, "weight_map has a value that is not a string, that of {}", in_quotes(name));
      std::string const& shard_name = shard.get_ref<std::string const&>();
      require_plain_name(index, shard_name);
      auto const [place, inserted] = shards.try_emplace(shard_name, files_.size());
      if (inserted) open_shard(index, shard_name);
      tensor_view const* const t = files_[place->second].find(name);
      if (t == nullptr)
        fail(index, "places tensor {} in {}, which does not contain it", in_quotes(name),
             in_quotes(shard_name));
    }
    for (safetensors const& shard : files_)
      for (tensor_view const& t : shard) {
        auto const entry = map->find(t.name);
        if (entry == map->end()) fail(t, "is not in the weight_map of the index");
        std::string const& indexed = entry->get_ref<std::string const&>();
        if (&files_[shards.at(indexed)] != &shard)
          fail(t, "is in this shard, but the index places it in {}", in_quotes(indexed));
        tensors_.push_back(&t);
      }
    std::sort(tensors_.begin(), tensors_.end(),
              [](tensor_view const* a, tensor_view const* b) { return a->name < b->name; });
  }

  void open_shard(std::string const& index, std::string const& name) {
    std::string const path = path_in(directory_, name);
    if (!exists(path)) fail(index, "names the shard {}, which does not exist", in_quotes(name));
    files_.emplace_back(path);
  }

  std::string directory_;
  std::string source_;                       // model.safetensors or the index
  std::vector<safetensors> files_;           // moves keep the addresses of their tensors
  std::vector<tensor_view const*> tensors_;  // sorted by name
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
