// Typed access to the keys of a config.json.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/files/config_file.hpp>
#include <plait/io/files/fail.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The keys of one JSON object of a config.json. An absent key leaves `out` unchanged. `prefix`
/// precedes the keys of an inner object in errors, as in "rope_parameters.". The object and the
/// file name must outlive the reader.
/// Equation: `read_heads`: num_key_value_heads null is num_attention_heads; head_dim absent or null
///   is hidden_size / num_attention_heads, rounded down
/// Errors: most of them "FILE: KEY is VALUE; EXPECTED"
///   - `has no model_type; plait reads …`: the key is absent
///   - `plait reads …`: EXPECTED for model_type
///   - `plait has "silu"`: EXPECTED for hidden_act
///   - `plait has attention over all keys only, expected null`: EXPECTED for sliding_window
///   - `… is …; expected less than 2^31`: a product of hyperparameters that is a width
/// Cost: one lookup per key
/// Test: tests/unit/models/jamba/checkpoint_config_test.cpp,
///   tests/unit/models/mixtral/checkpoint_test.cpp, tests/checks/fuzz/config.cpp
class config_reader {
 public:
  explicit config_reader(config_file const& c) : root_(c.root()), file_(c.file()) {}
  config_reader(nlohmann::json const& object, std::string const& file, std::string prefix = "")
      : root_(object), file_(file), prefix_(std::move(prefix)) {}

  /// The value of a key, which may be null; nullptr if the key is absent.
  nlohmann::json const* find(char const* key) const {
    auto const it = root_.find(key);
    return it == root_.end() ? nullptr : &*it;
  }
  /// The value of a key; nullptr if it is absent or null.
  nlohmann::json const* find_value(char const* key) const {
    auto const* const v = find(key);
    return v == nullptr || v->is_null() ? nullptr : v;
  }
  /// Throws plait::error: "FILE: KEY is VALUE; EXPECTED".
  [[noreturn]] void refuse(char const* key, nlohmann::json const& value,
                           std::string const& expected) const {
    fail(file_, "{}{} is {}; {}", prefix_, key, text(value), expected);
  }

  int integer(nlohmann::json const& value, char const* key, int min) const {
    constexpr int max = std::numeric_limits<int>::max();
    // The parser stores nonnegative integers as unsigned and those beyond 64 bits as floats.
    bool const fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t{max}
                      : value.is_number_integer()
                          ? value.get<std::int64_t>() >= std::numeric_limits<int>::min()
                          : false;
    if (!fits || value.get<int>() < min)
      refuse(key, value, sentence("expected an integer from {} to {}", min, max));
    return value.get<int>();
  }
  void read(char const* key, int& out, int min) const {
    if (auto const* const v = find(key)) out = integer(*v, key, min);
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
    bool const in_range = value > 0 && value < double{std::numeric_limits<float>::max()};
    out = in_range ? static_cast<float>(value) : 0.0f;
    if (!(out > 0)) refuse(key, *find(key), "expected a positive number that a float can hold");
  }
  /// Token ids: one integer, an array of them, or null for none.
  void read_ids(char const* key, std::vector<int>& out) const {
    auto const* const ids = find(key);
    if (ids == nullptr) return;
    constexpr int min = std::numeric_limits<int>::min();
    out.clear();
    if (ids->is_array())
      for (auto const& id : *ids) out.push_back(integer(id, key, min));
    else if (!ids->is_null())
      out.push_back(integer(*ids, key, min));
  }

  void require_model_type(char const* expected) const {
    auto const* const type = find("model_type");
    if (type == nullptr) fail(file_, "has no model_type; plait reads {}", in_quotes(expected));
    if (*type != expected)
      refuse("model_type", *type, sentence("plait reads {}", in_quotes(expected)));
  }
  void require_silu_over_all_keys() const {
    if (auto const* const act = find("hidden_act"); act != nullptr && *act != "silu")
      refuse("hidden_act", *act, "plait has \"silu\"");
    if (auto const* const window = find_value("sliding_window"))
      refuse("sliding_window", *window, "plait has attention over all keys only, expected null");
  }
  /// num_attention_heads, num_key_value_heads and head_dim, defaults resolved and checked against
  /// c.hidden_size.
  template <class Config>
  void read_heads(Config& c) const {
    read("num_attention_heads", c.num_attention_heads, 1);
    if (auto const* const heads = find("num_key_value_heads"); heads != nullptr && heads->is_null())
      c.num_key_value_heads = c.num_attention_heads;
    else
      read("num_key_value_heads", c.num_key_value_heads, 1);
    if (c.num_attention_heads % c.num_key_value_heads != 0)
      fail(file_, "num_attention_heads is {}, not a multiple of num_key_value_heads, {}",
           c.num_attention_heads, c.num_key_value_heads);
    c.head_dim = c.hidden_size / c.num_attention_heads;  // rounded down, as transformers does
    if (find_value("head_dim") != nullptr) read("head_dim", c.head_dim, 1);
    if (c.head_dim == 0)
      fail(file_, "hidden_size is {}, less than num_attention_heads, {}, and there is no head_dim",
           c.hidden_size, c.num_attention_heads);
    require_fits("num_attention_heads * head_dim",
                 std::int64_t{c.num_attention_heads} * c.head_dim);
  }
  /// Checks that `n`, a product of hyperparameters, is a width: less than 2^31.
  void require_fits(char const* what, std::int64_t n) const {
    if (n > std::numeric_limits<int>::max())
      fail(file_, "{} is {}; expected less than 2^31", what, n);
  }

  /// A JSON value as errors quote it; arrays and objects without their contents.
  static std::string text(nlohmann::json const& value) {
    if (value.is_string()) return in_quotes(value.get_ref<std::string const&>());
    if (value.is_array()) return "an array";
    if (value.is_object()) return "an object";
    return value.dump();
  }

 private:
  nlohmann::json const& root_;
  std::string const& file_;
  std::string prefix_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
