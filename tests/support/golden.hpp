// Transformers' results on a golden checkpoint (tests/golden), and the distance from
// them.
#pragma once

#include <plait/io.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace test {

/// The tensors of golden.safetensors: [B, T, ...] with left padding, or [B, R, ...] where only the
/// positions in `rows` are stored.
struct golden {
  plait::io::safetensors file;
  std::int64_t sequences;
  std::int64_t tokens;
  std::vector<std::int64_t> ids = plait::io::read<std::int64_t>(file.at("input_ids"));
  std::vector<std::int64_t> rows;

  explicit golden(std::string const& directory)
      : file(directory + "/golden.safetensors"),
        sequences(file.at("input_ids").shape[0]),
        tokens(file.at("input_ids").shape[1]) {
    if (auto const* const some = file.find("rows"); some != nullptr)
      rows = plait::io::read<std::int64_t>(*some);
    else
      for (std::int64_t t = 0; t < tokens; ++t) rows.push_back(t);
  }

  std::int64_t length(std::int64_t b) const {
    if (file.find("attention_mask") == nullptr) return tokens;
    auto const mask = plait::io::read<std::int64_t>(file.at("attention_mask"));
    return std::count(mask.begin() + b * tokens, mask.begin() + (b + 1) * tokens, 1);
  }
  std::vector<std::int32_t> sequence(std::int64_t b) const {
    return {ids.begin() + (b + 1) * tokens - length(b), ids.begin() + (b + 1) * tokens};
  }
  /// The stored positions of sequence b, counted from its first token.
  std::vector<std::int64_t> stored_positions(std::int64_t b) const {
    std::vector<std::int64_t> inside;
    for (std::int64_t const t : rows)
      if (t >= tokens - length(b)) inside.push_back(t - (tokens - length(b)));
    return inside;
  }
  bool has_all_positions(std::string const& name) const { return file.at(name).shape[1] == tokens; }
  /// The stored values of sequence b.
  std::vector<double> stored(std::string const& name, std::int64_t b) const {
    return last_rows(
        name, b, has_all_positions(name) ? length(b) : std::int64_t(stored_positions(b).size()));
  }
  /// The rows of `values`, one per token of sequence b, at the positions that are stored of a
  /// tensor.
  template <class T>
  std::vector<T> of_stored(std::string const& name, std::int64_t b,
                           std::vector<T> const& values) const {
    if (has_all_positions(name)) return values;
    std::int64_t const width = std::int64_t(values.size()) / length(b);
    std::vector<T> some;
    for (std::int64_t const t : stored_positions(b))
      some.insert(some.end(), values.begin() + t * width, values.begin() + (t + 1) * width);
    return some;
  }
  /// The last `count` rows of sequence b of a [B, T, ...] or [B, R, ...] tensor.
  std::vector<double> last_rows(std::string const& name, std::int64_t b, std::int64_t count) const {
    plait::io::tensor_view const& t = file.at(name);
    std::vector<double> all;
    if (t.type == plait::io::stored_type::i64) {
      auto const integers = plait::io::read<std::int64_t>(t);
      all.assign(integers.begin(), integers.end());
    } else {
      all = plait::io::read<double>(t);
    }
    std::int64_t const sequence_size = t.size() / t.shape[0];
    std::int64_t const row_size = sequence_size / t.shape[1];
    return {all.begin() + (b + 1) * sequence_size - count * row_size,
            all.begin() + (b + 1) * sequence_size};
  }
  /// All values of sequence b of a tensor.
  std::vector<double> part(std::string const& name, std::int64_t b) const {
    return last_rows(name, b, file.at(name).shape[1]);
  }
};

/// max |actual - expected| / max |expected|.
template <class A, class B>
double relative_difference(A const& actual, B const& expected) {
  REQUIRE(actual.size() == expected.size());
  double max_difference = 0;
  double max_expected = 1e-300;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    max_difference = std::max(max_difference, std::fabs(double(actual[i]) - double(expected[i])));
    max_expected = std::max(max_expected, std::fabs(double(expected[i])));
  }
  return max_difference / max_expected;
}

}  // namespace test
