// Replaces the checkpoint of a directory atomically: readers find the old or the new one, also
// after a crash or a kill.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>
#include <plait/io/files/new_file.hpp>
#include <plait/io/files/safetensors_writer.hpp>

#include <nlohmann/json.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Replaces the weights of a directory, and writes its config.json where it has none, as one atomic
/// change. Plan every tensor, begin, append the values in the order of the plan, commit. At every
/// moment the directory loads as the old or as the new checkpoint.
///
/// commit() has four steps; each begins when the one before has reached the disk:
///
/// 1. All new files are written to temporaries (".plait-PROCESS-NUMBER.tmp") and synchronized.
/// 2. config.json, if it is to be written, and the shards are renamed to unused names
///    (model-00001-of-00003.safetensors, or with a generation, model.1-00001-of-00003.safetensors).
///    No reader opens them yet: a directory is read by its model.safetensors or, without one, by
///    its index.
/// 3. One system call makes the checkpoint the new one:
///    - one file: model.safetensors is renamed into place, over the old one or ahead of the old
///      index
///    - shards that replace shards or no checkpoint: model.safetensors.index.json is renamed into
///      place
///    - shards that replace one file: the index is renamed, which no reader opens yet; the decisive
///      call removes model.safetensors
/// 4. Remains of the old checkpoint are removed: its index if the new one has none, and every file
///    that its index lists or that has a shard's name, except the new ones. Other files stay.
///
/// A killed process may leave temporaries and shards that no reader opens; the next writer removes
/// them (temporaries only of processes that have ended). A lock (flock) on the directory, which
/// ends with its process, excludes concurrent writers; on a file system without locks it does not,
/// and old temporaries stay. A reader that has opened the old index may miss its shards during step
/// 4.
/// Shapes: values in pieces of any size; `shard_bytes` counts bytes of values per file. Tensors
///   that fit one file become model.safetensors, others shards of at most `shard_bytes` or of one
///   larger tensor
/// State: before the end of step 3, an error or a destruction leaves the old checkpoint and removes
///   the new files, and the directory if the writer created it
/// Errors: those of new_file.hpp and safetensors_writer.hpp, and those below. A failure after step
///   3 is not reported, because the new checkpoint is complete:
///   - `is not a directory that can be written`: an empty path, or one with a zero byte
///   - `cannot be removed: …`: the old model.safetensors in step 3
///   - `cannot be written: …`: the directory could not be synchronized
/// Cost: one pass over the values; one fsync per file, two or three of the directory. Until step 4
///   the disk holds both checkpoints. Memory for names and shapes of all tensors, the header of one
///   file and a buffer of 64 KiB
/// Source: POSIX: rename replaces a name atomically, fsync of a directory makes names durable
/// Test: tests/unit/io/save_protocol_test.cpp, tests/unit/io/save_test.cpp
class checkpoint_writer {
 public:
  /// Locks the directory; creates it, but not its parents, if it does not exist.
  explicit checkpoint_writer(std::string directory) : directory_(std::move(directory)) {
    if (directory_.empty() || directory_.find('\0') != std::string::npos)
      fail(directory_, "is not a directory that can be written");
    created_directory_ = ::mkdir(directory_.c_str(), 0777) == 0;
    if (!created_directory_ && errno != EEXIST)
      fail(directory_, "cannot be created: {}", errno_text(errno));
    try {
      open_directory();
    } catch (...) {
      undo();
      throw;
    }
  }
  checkpoint_writer(checkpoint_writer const&) = delete;
  checkpoint_writer& operator=(checkpoint_writer const&) = delete;
  ~checkpoint_writer() {
    undo();
    if (lock_ >= 0) ::close(lock_);
  }

  /// Whether the directory held weights, of any model, when the writer opened it.
  bool has_weights() const { return had_single_ || had_index_; }

  /// Adds a tensor; all are planned before begin().
  void plan(std::string name, std::vector<std::int64_t> shape) {
    tensors_.push_back({std::move(name), std::move(shape), 0, 0});
  }

  /// Distributes the tensors over files. `config` is the text of a config.json to be written too.
  void begin(std::int64_t shard_bytes, stored_type type, std::optional<std::string> const& config) {
    type_ = type;
    std::set<std::string_view> names;
    for (planned const& t : tensors_)
      if (!names.insert(t.name).second)
        fail(directory_,
             "two tensors would have the name {}; give their policies different checkpoint_names",
             in_quotes(t.name));
    std::int64_t bytes_in_shard = 0;
    for (planned& t : tensors_) {
      t.bytes = info(type).bytes;
      for (std::int64_t const n : t.shape) t.bytes *= n;
      if (bytes_in_shard > 0 && t.bytes > shard_bytes - bytes_in_shard) {
        ++shards_;
        bytes_in_shard = 0;
      }
      t.shard = shards_;
      bytes_in_shard += t.bytes;
      total_bytes_ += t.bytes;
    }
    ++shards_;
    if (shards_ > 1)
      name_shards();
    else
      file_names_ = {single_name};
    if (config) {
      config_.emplace(path_in(directory_, "config.json"));
      config_->write(*config);
      config_->finish();
    }
  }

  /// Writes the next values of tensor `name`, which must be the first incomplete one.
  void append(std::string_view name, std::span<float const> values) {
    if (values.empty()) return;
    while (missing_values_ == 0) next_tensor(name);
    files_.back()->append(name, values);
    missing_values_ -= std::min(missing_values_, static_cast<std::int64_t>(values.size()));
  }

  /// Makes the checkpoint the new one.
  void commit() {
    while (files_.size() < shards_) open_file();
    for (auto const& file : files_) file->finish();
    std::optional<new_file> index;
    if (shards_ > 1) {
      index.emplace(path_in(directory_, index_name));
      index->write(index_text());
      index->finish();
    }

    if (config_) put(*config_, "config.json");
    if (!index) {
      synchronize();
      files_[0]->put_in_place();
    } else {
      for (std::size_t k = 0; k < shards_; ++k) {
        files_[k]->put_in_place();
        new_names_.push_back(file_names_[k]);
      }
      synchronize();
      if (had_single_) {
        put(*index, index_name);
        synchronize();
        std::string const single = path_in(directory_, single_name);
        if (::unlink(single.c_str()) != 0) fail(single, "cannot be removed: {}", errno_text(errno));
      } else {
        index->commit();
      }
    }
    // The checkpoint is the new one: nothing is undone any more.
    new_names_.clear();
    created_directory_ = false;
    (void)sync_directory(directory_);
    remove_old();
  }

 private:
  struct planned {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int64_t bytes;
    std::size_t shard;
  };
  static constexpr char const* single_name = "model.safetensors";
  static constexpr char const* index_name = "model.safetensors.index.json";

  bool exists(std::string const& name) const {
    struct stat status {};
    return ::lstat(path_in(directory_, name).c_str(), &status) == 0;
  }

  void open_directory() {
    lock_ = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ < 0 && errno == ENOTDIR) fail(directory_, "is not a directory");
    if (lock_ < 0) fail(directory_, "cannot be opened: {}", errno_text(errno));
    locked_ = ::flock(lock_, LOCK_EX | LOCK_NB) == 0;
    if (!locked_ && errno == EWOULDBLOCK) fail(directory_, "is being written by another save");
    had_single_ = exists(single_name);
    had_index_ = exists(index_name);
    if (had_index_) old_shards_ = shards_of_index();
    if (!locked_) return;
    for (std::string const& name : entries())
      if (long const process = new_file::process_of(name);
          process > 0 && ::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH)
        ::unlink(path_in(directory_, name).c_str());
  }

  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    DIR* const stream = ::opendir(directory_.c_str());
    if (stream == nullptr) return names;
    while (dirent const* const entry = ::readdir(stream)) names.emplace_back(entry->d_name);
    ::closedir(stream);
    return names;
  }

  /// The shards that the old index lists; none if it cannot be read, since the new checkpoint
  /// replaces a broken one too.
  std::set<std::string> shards_of_index() const {
    std::set<std::string> shards;
    try {
      mapped_file const file(path_in(directory_, index_name));
      if (file.bytes().size() > max_index_bytes) return shards;
      nlohmann::json const root = parse_json(file.text(), file.path());
      for (auto const& [name, shard] :
           root.at("weight_map").get_ref<nlohmann::json::object_t const&>())
        if (shard.is_string()) shards.insert(shard.get<std::string>());
    } catch (std::exception const&) {}
    std::erase_if(shards, [](std::string const& n) {
      return !n.ends_with(".safetensors") || n.find('/') != std::string::npos;
    });
    return shards;
  }

  /// Whether a name is model-<k>-of-<n>.safetensors or model.<g>-<k>-of-<n>.safetensors, with at
  /// least five digits in k and n.
  static bool is_shard_name(std::string_view name) {
    auto const skip = [&](std::string_view text) {
      bool const matches = name.starts_with(text);
      if (matches) name.remove_prefix(text.size());
      return matches;
    };
    auto const digits = [&](std::size_t min) {
      std::size_t const n = std::min(name.find_first_not_of("0123456789"), name.size());
      name.remove_prefix(n);
      return n >= min;
    };
    return skip("model") && (!skip(".") || digits(1)) && skip("-") && digits(5) && skip("-of-") &&
           digits(5) && name == ".safetensors";
  }

  void name_shards() {
    auto const five_digits = [](std::size_t n) {
      std::string const text = std::to_string(n);
      return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
    };
    auto const is_used = [&](std::string const& n) { return exists(n) || old_shards_.contains(n); };
    for (int generation = 0; file_names_.empty(); ++generation) {
      std::string const stem = generation == 0 ? "model-" : sentence("model.{}-", generation);
      for (std::size_t k = 1; k <= shards_; ++k)
        file_names_.push_back(
            sentence("{}{}-of-{}.safetensors", stem, five_digits(k), five_digits(shards_)));
      if (std::any_of(file_names_.begin(), file_names_.end(), is_used)) file_names_.clear();
    }
  }

  void open_file() {
    if (!files_.empty()) files_.back()->finish();
    std::size_t const shard = files_.size();
    files_.push_back(std::make_unique<safetensors_writer>(
        path_in(directory_, file_names_[shard]),
        std::map<std::string, std::string>{{"format", "pt"}}, type_));
    for (planned const& t : tensors_)
      if (t.shard == shard) files_.back()->declare(t.name, t.shape);
  }

  void next_tensor(std::string_view name) {
    if (next_ == tensors_.size())
      fail(directory_, "tensor {} is appended after the last tensor was complete", in_quotes(name));
    planned const& t = tensors_[next_++];
    while (files_.size() <= t.shard) open_file();
    missing_values_ = t.bytes / info(type_).bytes;
  }

  std::string index_text() const {
    nlohmann::json map = nlohmann::json::object();
    for (planned const& t : tensors_) map[t.name] = file_names_[t.shard];
    nlohmann::json const index{{"metadata", {{"total_size", total_bytes_}}},
                               {"weight_map", std::move(map)}};
    return index.dump(2) + "\n";
  }

  void put(new_file& file, char const* name) {
    file.commit();
    new_names_.push_back(name);
  }
  void synchronize() const {
    if (int const failed = sync_directory(directory_); failed != 0)
      fail(directory_, "cannot be written: {}", errno_text(failed));
  }

  void remove_old() const {
    std::set<std::string> old = old_shards_;
    for (std::string& name : entries())
      if (is_shard_name(name)) old.insert(std::move(name));
    if (shards_ == 1) ::unlink(path_in(directory_, index_name).c_str());
    for (std::string const& name : old)
      if (std::find(file_names_.begin(), file_names_.end(), name) == file_names_.end())
        ::unlink(path_in(directory_, name).c_str());
  }

  /// Removes all new files, and the directory if the writer created it.
  void undo() {
    for (auto name = new_names_.rbegin(); name != new_names_.rend(); ++name)
      ::unlink(path_in(directory_, *name).c_str());
    new_names_.clear();
    files_.clear();
    config_.reset();
    if (created_directory_) ::rmdir(directory_.c_str());
    created_directory_ = false;
  }

  std::string directory_;
  int lock_ = -1;
  bool created_directory_ = false;
  bool locked_ = false;
  bool had_single_ = false;
  bool had_index_ = false;
  std::set<std::string> old_shards_;

  std::vector<planned> tensors_;
  stored_type type_ = stored_type::f32;
  std::size_t shards_ = 0;
  std::size_t next_ = 0;  // the tensor after the current one
  std::int64_t total_bytes_ = 0;
  std::int64_t missing_values_ = 0;      // of the current tensor
  std::vector<std::string> file_names_;  // one per shard
  std::vector<std::unique_ptr<safetensors_writer>> files_;
  std::optional<new_file> config_;
  std::vector<std::string> new_names_;  // renamed into place and not yet read
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
