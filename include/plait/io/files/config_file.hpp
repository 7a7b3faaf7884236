// config.json: the file, and typed access to its keys.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/json.hpp>
#include <plait/io/files/mapped_file.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Bytes of the largest config.json that is read.
inline constexpr std::size_t max_config_bytes = std::size_t{16} << 20;

/// `path`/config.json, or `path` itself where that is not a directory.
inline std::string config_path(std::string const& path) {
  struct stat status {};
  bool const directory = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  return directory ? path + (path.ends_with('/') ? "" : "/") + "config.json" : path;
}

/// A config.json, parsed: an object with keys, of at most max_config_bytes. `file` is for messages.
/// Equation: a key that is absent leaves `out` as it was. `read_heads`: num_key_value_heads null is
///   num_attention_heads; head_dim absent or null is hidden_size / num_attention_heads, rounded
///   down
/// Shapes: a file of at most 16 MiB; `path` is a directory or the file itself. A reader refers to
///   the config_file, which must outlive it. `where` stands before the keys of an object inside, as
///   in "rope_parameters."
/// Errors: beside these, those of json.hpp and mapped_file.hpp
///   - `has no model_type; …`: and what is read: `plait reads "jamba"`
///   - `plait reads "…"`: so, and where a sentence below does not name its key, after `KEY is
///     VALUE;`
///   - `plait has "silu"`: hidden_act
///   - `plait has attention over all keys only, expected null`: sliding_window
///   - `… is …; expected less than 2^31`: a product of hyperparameters that has to be a width
/// Cost: reads the file once and keeps its JSON, not the text
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp,
/// tests/unit/models/mixtral/checkpoint_test.cpp, tests/checks/fuzz/config.cpp
class config_file {
 public:
  /// Reads a checkpoint's directory or its config.json.
  explicit config_file(std::string const& path) {
    mapped_file const mapped(config_path(path));
    file_ = mapped.path();
    if (mapped.bytes().size() > max_config_bytes)
      fail(file_, "has " + std::to_string(mapped.bytes().size()) + " bytes; at most " +
                      std::to_string(max_config_bytes) + " are read");
    parse(mapped.text());
  }
  /// What is in memory already.
  config_file(std::string_view text, std::string file) : file_(std::move(file)) { parse(text); }

  std::string const& file() const { return file_; }
  nlohmann::json const& root() const { return root_; }
  /// As it is written: a key a line.
  std::string text() const { return root_.dump(2) + "\n"; }

 private:
  void parse(std::string_view text) {
    root_ = parse_json(text, file_);
    if (!root_.is_object()) fail(file_, "is not a JSON object");
  }

  std::string file_;
  nlohmann::json root_;
};

/// Typed access to the keys of one JSON object; every refusal names file, key and value, "KEY is
/// VALUE; EXPECTED". An absent key leaves `out` as it was. `where` stands before the keys of an
/// object inside the file's, as in "rope_parameters.". Object and file must outlive it.
class config_reader {
 public:
  explicit config_reader(config_file const& c) : root_(c.root()), file_(c.file()) {}
  config_reader(nlohmann::json const& object, std::string const& file, std::string where = "")
      : root_(object), file_(file), where_(std::move(where)) {}

  /// nullptr if absent; a JSON null is a value.
  nlohmann::json const* find(char const* key) const {
    auto const it = root_.find(key);
    return it == root_.end() ? nullptr : &*it;
  }
  /// nullptr if absent or null.
  nlohmann::json const* find_value(char const* key) const {
    auto const* const v = find(key);
    return v == nullptr || v->is_null() ? nullptr : v;
  }
  [[noreturn]] void refuse(char const* key, nlohmann::json const& value,
                           std::string const& expected) const {
    fail(file_, where_ + key + " is " + text(value) + "; " + expected);
  }

  int integer(nlohmann::json const& value, char const* key, int least) const {
    constexpr int most = std::numeric_limits<int>::max();
    // the parser gives every integer that is not negative as unsigned, and those beyond 64 bits as
    // floats
    bool const fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t{most}
                      : value.is_number_integer()
                          ? value.get<std::int64_t>() >= std::numeric_limits<int>::min()
                          : false;
    if (!fits || value.get<int>() < least)
      refuse(key, value,
             "expected an integer from " + std::to_string(least) + " to " + std::to_string(most));
    return value.get<int>();
  }
  void read(char const* key, int& out, int least) const {
    if (auto const* const v = find(key)) out = integer(*v, key, least);
  }
  void read(char const* key, bool& out) const {
    auto const* const v = find(key);
    if (v == nullptr) return;
    if (!v->is_boolean()) refuse(key, *v, "expected true or false");
    out = v->get<bool>();
  }
  void read(char const* key, double& out) const {
    auto const* const v = find(key);
    if (v == nullptr) return;
    if (!v->is_number()) refuse(key, *v, "expected a number");
    out = v->get<double>();
  }
  /// A positive number that a float can hold.
  void read_positive(char const* key, float& out) const {
    if (find(key) == nullptr) return;
    double value = 0;
    read(key, value);
    out = value > 0 && value < double{std::numeric_limits<float>::max()} ? static_cast<float>(value)
                                                                         : 0.0f;
    if (!(out > 0)) refuse(key, *find(key), "expected a positive number that a float can hold");
  }
  /// One id, several in an array, or null for none.
  void read_ids(char const* key, std::vector<int>& out) const {
    auto const* const ids = find(key);
    if (ids == nullptr) return;
    constexpr int any = std::numeric_limits<int>::min();
    out.clear();
    if (ids->is_array())
      for (auto const& id : *ids) out.push_back(integer(id, key, any));
    else if (!ids->is_null())
      out.push_back(integer(*ids, key, any));
  }

  // ---- what several families ask of a config.json
  // ------------------------------------------------------------------------------------
  void require_model_type(char const* expected) const {
    auto const* const type = find("model_type");
    std::string const reads = std::string("plait reads \"") + expected + '"';
    if (type == nullptr) fail(file_, "has no model_type; " + reads);
    if (*type != expected) refuse("model_type", *type, reads);
  }
  void require_silu_over_all_keys() const {
    if (auto const* const act = find("hidden_act"); act != nullptr && *act != "silu")
      refuse("hidden_act", *act, "plait has \"silu\"");
    if (auto const* const window = find_value("sliding_window"))
      refuse("sliding_window", *window, "plait has attention over all keys only, expected null");
  }
  /// num_attention_heads, num_key_value_heads and head_dim of any config that has them, with
  /// hidden_size; resolved and checked.
  template <class Config>
  void read_heads(Config& c) const {
    read("num_attention_heads", c.num_attention_heads, 1);
    if (auto const* const heads = find("num_key_value_heads"); heads != nullptr && heads->is_null())
      c.num_key_value_heads = c.num_attention_heads;
    else
      read("num_key_value_heads", c.num_key_value_heads, 1);
    if (c.num_attention_heads % c.num_key_value_heads != 0)
      fail(file_, "num_attention_heads is " + std::to_string(c.num_attention_heads) +
                      ", not a multiple of num_key_value_heads, " +
                      std::to_string(c.num_key_value_heads));
    c.head_dim = c.hidden_size / c.num_attention_heads;  // rounded down, as transformers does
    if (find_value("head_dim") != nullptr) read("head_dim", c.head_dim, 1);
    if (c.head_dim == 0)
      fail(file_, "hidden_size is " + std::to_string(c.hidden_size) +
                      ", less than num_attention_heads, " + std::to_string(c.num_attention_heads) +
                      ", and there is no head_dim");
    require_fits("num_attention_heads * head_dim",
                 std::int64_t{c.num_attention_heads} * c.head_dim);
  }
  /// `n`, a product of hyperparameters, has to be a width.
  void require_fits(char const* what, std::int64_t n) const {
    if (n > std::numeric_limits<int>::max())
      fail(file_, std::string(what) + " is " + std::to_string(n) + "; expected less than 2^31");
  }

  /// A JSON value as messages quote it.
  static std::string text(nlohmann::json const& value) {
    if (value.is_string()) return in_quotes(value.get_ref<std::string const&>());
    if (value.is_array()) return "an array";
    if (value.is_object()) return "an object";
    return value.dump();
  }

 private:
  nlohmann::json const& root_;
  std::string const& file_;
  std::string where_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
