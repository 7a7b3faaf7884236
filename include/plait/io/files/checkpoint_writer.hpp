// Puts a new checkpoint in the place of a directory's old one, in one moment: a reader finds the
// old or the new one, also after a crash or a kill.
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

/// The weights of a directory, and its config.json where there is none, replaced as one. Plan every
/// tensor, append their values in the order of the plan, then commit. At every moment the directory
/// loads as the old or as the new checkpoint; an error before the end of commit() leaves the old
/// one and nothing else.
///
/// The order, each step begun when the one before has reached the disk:
///
/// 1. All new files are written to temporaries (".plait-PROCESS-NUMBER.tmp") and synchronized.
/// 2. config.json, if there is to be one, and shards, under names that nothing has yet
///    (model-00001-of-00003.safetensors, or with a generation, model.1-00001-of-00003.safetensors),
///    are renamed into place. Nobody reads them: a directory is read by its model.safetensors or,
///    without one, by its index.
/// 3. One call makes the checkpoint the new one:
///    - one file: model.safetensors is renamed into place, over the old one or in front of the old
///      index
///    - shards, in the place of shards or of nothing: model.safetensors.index.json is renamed into
///      place
///    - shards, in the place of one file: the index is renamed, which nobody reads yet; then the
///      call is the one that removes model.safetensors
/// 4. What the old checkpoint leaves is removed: its index where the new one has none, and every
///    file that its index lists or that is named as a shard and that is not the new one's. Other
///    files are left alone.
///
/// A killed process may leave temporaries and shards that nobody reads; the next writer removes
/// them, temporaries only of processes that are gone. Writers exclude each other by a lock (flock)
/// on the directory, which ends with its process; on a file system without locks they do not, and
/// old temporaries stay. Who opens the directory by the old index while step 4 runs may find its
/// shards gone.
/// Equation: the order of what `commit` does is above. Before its end, an error or a destruction
///   leaves the old checkpoint and removes what was made, the directory too if the writer made it
/// Shapes: plan every tensor, then `begin`, then values in the order of the plan, in pieces of any
///   size. `shard_bytes` counts bytes of values in a file: what fits into one is model.safetensors,
///   otherwise shards of up to that many, or of one larger tensor. `config` is the text of a
///   config.json to be written with them, or nothing
/// Errors: beside these, those of new_file.hpp and safetensors_writer.hpp. What fails behind the
///   moment of step 3 is not said: the checkpoint is the new one
///   - `is not a directory that can be written`: an empty path, or one with a zero byte
///   - `cannot be removed: …`: the old model.safetensors, by the new index's
///   - `cannot be written: …`: the directory could not be synchronized
/// Cost: one pass over the values; an fsync a file, two or three of the directory. On the disk the
///   old and the new checkpoint lie side by side until step 4. In memory: names and shapes of all
///   tensors, a buffer of 64 KiB and the header of the file being written
/// Source: POSIX: rename replaces a name in one step, fsync of a directory makes names last
/// Test: tests/unit/io/save_protocol_test.cpp, which looks before each call that changes a name,
/// fails
///   each in turn, fills the disk and kills the process; tests/unit/io/save_test.cpp
class checkpoint_writer {
 public:
  /// Makes the directory if there is none (not its parents), and locks it.
  explicit checkpoint_writer(std::string directory) : directory_(std::move(directory)) {
    if (directory_.empty() || directory_.find('\0') != std::string::npos)
      fail(directory_, "is not a directory that can be written");
    made_directory_ = ::mkdir(directory_.c_str(), 0777) == 0;
    if (!made_directory_ && errno != EEXIST) fail(directory_, "cannot be made: " + reason(errno));
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

  /// Whether there are weights, whoever they belong to.
  bool has_weights() const { return had_single_ || had_index_; }

  void plan(std::string name, std::vector<std::int64_t> shape) {
    tensors_.push_back({std::move(name), std::move(shape), 0, 0});
  }

  /// After the last plan(): as one file, or as shards of up to `shard_bytes` of values, or one
  /// tensor, each. `config` is the text of a config.json to be written with them.
  void begin(std::int64_t shard_bytes, stored_type type, std::optional<std::string> const& config) {
    type_ = type;
    std::set<std::string_view> names;
    for (planned const& t : tensors_)
      if (!names.insert(t.name).second)
        fail(directory_, "two tensors would be called " + in_quotes(t.name) +
                             "; a checkpoint_name beside a policy keeps them apart");
    std::int64_t in_shard = 0;
    for (planned& t : tensors_) {
      t.bytes = info(type).bytes;
      for (std::int64_t const n : t.shape) t.bytes *= n;
      if (in_shard > 0 && t.bytes > shard_bytes - in_shard) {
        ++shards_;
        in_shard = 0;
      }
      t.shard = shards_;
      in_shard += t.bytes;
      total_ += t.bytes;
    }
    ++shards_;
    if (shards_ > 1)
      name_shards();
    else
      names_ = {"model.safetensors"};
    if (config) {
      config_.emplace(path_in(directory_, "config.json"));
      config_->write(*config);
      config_->finish();
    }
  }

  /// The next values of the tensor whose turn it is.
  void append(std::string_view name, std::span<float const> values) {
    while (values.empty() ? false : left_ == 0) next_tensor(name);
    if (values.empty()) return;
    files_.back()->append(name, values);
    left_ -= std::min(left_, static_cast<std::int64_t>(values.size()));
  }

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
        made_.push_back(names_[k]);
      }
      synchronize();
      if (had_single_) {
        put(*index, index_name);
        synchronize();
        std::string const single = path_in(directory_, single_name);
        if (::unlink(single.c_str()) != 0) fail(single, "cannot be removed: " + reason(errno));
      } else {
        index->commit();
      }
    }
    // From here on the checkpoint is the new one, whatever else becomes of this.
    made_.clear();
    made_directory_ = false;
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
    if (lock_ < 0)
      fail(directory_,
           errno == ENOTDIR ? "is not a directory" : "cannot be opened: " + reason(errno));
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
    DIR* const open = ::opendir(directory_.c_str());
    if (open == nullptr) return names;
    while (dirent const* const entry = ::readdir(open)) names.emplace_back(entry->d_name);
    ::closedir(open);
    return names;
  }

  /// As far as there is an index that can be read: a broken one is no reason not to write a whole
  /// one.
  std::set<std::string> shards_of_index() const {
    std::set<std::string> out;
    try {
      mapped_file const file(path_in(directory_, index_name));
      if (file.bytes().size() > max_index_bytes) return out;
      nlohmann::json const root = parse_json(file.text(), file.path());
      for (auto const& [name, shard] :
           root.at("weight_map").get_ref<nlohmann::json::object_t const&>())
        if (shard.is_string()) out.insert(shard.get<std::string>());
    } catch (std::exception const&) {}
    std::erase_if(out, [](std::string const& n) {
      return !n.ends_with(".safetensors") || n.find('/') != std::string::npos;
    });
    return out;
  }

  /// model-<k>-of-<n>.safetensors, with ".<g>" behind model or without; k and n of five digits or
  /// more.
  static bool is_shard_name(std::string_view name) {
    auto const skip = [&](std::string_view text) {
      bool const there = name.starts_with(text);
      if (there) name.remove_prefix(text.size());
      return there;
    };
    auto const digits = [&](std::size_t least) {
      std::size_t const n = std::min(name.find_first_not_of("0123456789"), name.size());
      name.remove_prefix(n);
      return n >= least;
    };
    return skip("model") && (!skip(".") || digits(1)) && skip("-") && digits(5) && skip("-of-") &&
           digits(5) && name == ".safetensors";
  }

  void name_shards() {
    auto const five = [](std::size_t n) {
      std::string const text = std::to_string(n);
      return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
    };
    for (int generation = 0; names_.empty(); ++generation) {
      std::string const stem =
          generation == 0 ? "model-" : "model." + std::to_string(generation) + "-";
      for (std::size_t k = 1; k <= shards_; ++k)
        names_.push_back(stem + five(k) + "-of-" + five(shards_) + ".safetensors");
      if (std::any_of(names_.begin(), names_.end(),
                      [&](std::string const& n) { return exists(n) || old_shards_.contains(n); }))
        names_.clear();
    }
  }

  void open_file() {
    if (!files_.empty()) files_.back()->finish();
    std::size_t const shard = files_.size();
    files_.push_back(std::make_unique<safetensors_writer>(
        path_in(directory_, names_[shard]), std::map<std::string, std::string>{{"format", "pt"}},
        type_));
    for (planned const& t : tensors_)
      if (t.shard == shard) files_.back()->declare(t.name, t.shape);
  }

  void next_tensor(std::string_view name) {
    if (next_ == tensors_.size())
      fail(directory_,
           "tensor " + in_quotes(name) + " is appended after the last tensor was complete");
    planned const& t = tensors_[next_++];
    while (files_.size() <= t.shard) open_file();
    left_ = t.bytes / info(type_).bytes;
  }

  std::string index_text() const {
    nlohmann::json map = nlohmann::json::object();
    for (planned const& t : tensors_) map[t.name] = names_[t.shard];
    return nlohmann::json{{"metadata", {{"total_size", total_}}}, {"weight_map", std::move(map)}}
               .dump(2) +
           "\n";
  }

  void put(new_file& file, char const* name) {
    file.commit();
    made_.push_back(name);
  }
  void synchronize() const {
    if (int const failed = sync_directory(directory_); failed != 0)
      fail(directory_, "cannot be written: " + reason(failed));
  }

  void remove_old() const {
    std::set<std::string> old = old_shards_;
    for (std::string& name : entries())
      if (is_shard_name(name)) old.insert(std::move(name));
    if (shards_ == 1) ::unlink(path_in(directory_, index_name).c_str());
    for (std::string const& name : old)
      if (std::find(names_.begin(), names_.end(), name) == names_.end())
        ::unlink(path_in(directory_, name).c_str());
  }

  /// Removes what was made before the moment of commit().
  void undo() {
    for (auto name = made_.rbegin(); name != made_.rend(); ++name)
      ::unlink(path_in(directory_, *name).c_str());
    made_.clear();
    files_.clear();
    config_.reset();
    if (made_directory_) ::rmdir(directory_.c_str());
    made_directory_ = false;
  }

  std::string directory_;
  int lock_ = -1;
  bool made_directory_ = false, locked_ = false, had_single_ = false, had_index_ = false;
  std::set<std::string> old_shards_;

  std::vector<planned> tensors_;
  stored_type type_ = stored_type::f32;
  std::size_t shards_ = 0, next_ = 0;  // next_: the tensor after the one whose turn it is
  std::int64_t total_ = 0, left_ = 0;  // left_: values missing of the one whose turn it is
  std::vector<std::string> names_;     // of the files
  std::vector<std::unique_ptr<safetensors_writer>> files_;
  std::optional<new_file> config_;
  std::vector<std::string> made_;  // names that were not there before
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
