// The check of a result before it is timed: against the reference with the same weights, within
// bounds that follow from rounding, and against calls with another split of the tokens.
// Test: tests/unit/benchmark/probe_test.cpp, tests/unit/benchmark/register_test.cpp,
//   tests/unit/benchmark/device_register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/place.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/core/error.hpp>
#include <plait/core/half.hpp>
#include <plait/core/sentence.hpp>
#include <plait/core/view.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// The bound on the difference between a result on the CPU and the reference's with the same,
/// dequantised weights, divided by the reference's largest value:
///
/// - 1e-4 where products are f32: sums of thousands of products differ by about 1e-6 of the
///   largest, those of a wrong kernel by more than 1e-4
/// - 1e-2 where keys and values are bf16: each is rounded by up to 2^-9, and scores and averages
///   with it
/// - 5e-2 where products are bf16: activations are rounded by up to 2^-9 before every product, and
///   several products follow each other
/// - 2e-1 where products are int8: activations are rounded to 1/254 of their token's largest, which
///   is up to ten times the others
/// Test: tests/unit/benchmark/probe_test.cpp
inline double tolerance(precision const& p, bool keeps_keys) {
  dtype const products = arithmetic_of(p);
  double const of_products = products == dtype::f32 ? 1e-4 : products == dtype::bf16 ? 5e-2 : 2e-1;
  double const of_keys = keeps_keys && p.kv != dtype::f32 ? 1e-2 : 0;
  return std::max(of_products, of_keys);
}

/// The bound on a device, where activations are f32 with f32 weights, else bf16:
///
/// - 1e-4 for f32: sums are made in another order
/// - 5e-2 for one layer in bf16: its inputs and some ten intermediate results are rounded by up to
///   2^-9
/// - 1e-1 for several layers: the rounded results of one are the inputs of the next
/// - 2e-1 for several layers that route: rounding may choose another expert where two logits are
///   almost equal
///
/// The difference of a wrong kernel is about 1.
/// Test: tests/unit/benchmark/device_register_test.cpp
inline double device_tolerance(precision const& p, std::int64_t layers, bool routes) {
  if (p.weights == dtype::f32) return 1e-4;
  return layers == 1 ? 5e-2 : routes ? 2e-1 : 1e-1;
}

/// The largest difference of two results, and the largest magnitude of the expected one.
/// Errors:
///   - `the result is off by … where the reference reaches …; allowed is a share of …`: from
///     `complaint`, as a text
/// Test: tests/unit/benchmark/probe_test.cpp
struct difference {
  double max_difference = 0;
  double max_expected = 0;
  /// As a share of the largest expected magnitude; 0 where the results are equal.
  double relative() const { return max_difference == 0 ? 0 : max_difference / max_expected; }
  /// A sentence where the difference exceeds `bound`, else empty. A NaN, and an expected result of
  /// zeros alone, exceed every bound.
  std::string complaint(double bound) const {
    if (max_difference <= bound * max_expected && max_expected > 0) return {};
    return sentence(
        "the result is off by {} where the reference reaches {}; allowed is a share of {}",
        max_difference, max_expected, bound);
  }
};

/// The outcome of a check.
/// Test: tests/unit/benchmark/register_test.cpp
struct verdict {
  static constexpr double unchecked = -1;
  std::string error = {};             ///< why the result is wrong; empty where it is right
  double relative_error = unchecked;  ///< `difference::relative`; `unchecked` without a reference
  bool is_checked() const { return relative_error >= 0; }
};

namespace detail {
template <class T>
double as_double(T value) {
  return static_cast<double>(value);
}
inline double as_double(bf16_t value) { return static_cast<double>(static_cast<float>(value)); }
}  // namespace detail

/// The difference of a result from the expected one. A NaN in the result stays the largest.
/// Shapes: result, expected [rows, cols]
/// Test: tests/unit/benchmark/probe_test.cpp
template <class A, class B>
difference compare(matrix_view<A const> result, matrix_view<B const> expected) {
  difference d;
  for (std::int64_t r = 0; r < expected.rows(); ++r)
    for (std::int64_t c = 0; c < expected.cols(); ++c) {
      double const should = detail::as_double(expected(r, c));
      double const off = std::abs(should - detail::as_double(result(r, c)));
      d.max_expected = std::max(d.max_expected, std::abs(should));
      if (!(off <= d.max_difference) && !std::isnan(d.max_difference)) d.max_difference = off;
    }
  return d;
}

/// The first row whose bits differ, or -1.
/// Shapes: a, b with as many columns; the rows of `a` are compared; `b` has at least as many
/// Test: tests/unit/benchmark/register_test.cpp
template <class T>
std::int64_t differing_row(matrix_view<T const> a, matrix_view<T const> b) {
  for (std::int64_t r = 0; r < a.rows(); ++r)
    if (std::memcmp(a.row(r), b.row(r), sizeof(T) * static_cast<std::size_t>(a.cols())) != 0)
      return r;
  return -1;
}

/// Compares the first rows of a call with the same rows computed by a call with few tokens: bit for
/// bit on the CPU; within `allowed` on a device, which sums products of many rows in another order.
/// Returns a sentence where they differ, else an empty string.
/// Errors: texts, of which none is thrown:
///   - `the first rows of … are not those of a call with …`
///   - `row … of … is not that of a call with …, bit for bit`
/// Test: tests/unit/benchmark/register_test.cpp
template <class Exec, class T>
std::string disagreement(matrix_view<T const> timed, matrix_view<T const> few, std::int64_t tokens,
                         double allowed) {
  if constexpr (on_device<Exec>) {
    std::string const why = compare(timed.middle_rows(0, few.rows()), few).complaint(allowed);
    if (why.empty()) return {};
    return sentence("the first rows of {} are not those of a call with {}: {}", tokens, few.rows(),
                    why);
  } else {
    std::int64_t const row = differing_row(few, timed);
    if (row < 0) return {};
    return sentence("row {} of {} is not that of a call with {}, bit for bit", row, tokens,
                    few.rows());
  }
}

/// Copies the weights of a model or layer to the same model or layer on another execution policy,
/// as `from` stores them: rounded and dequantised.
/// Errors:
///   - `is not in both`: the two have different tensors
/// Cost: a row at a time, by get_row and set_row
/// Test: tests/unit/benchmark/probe_test.cpp
template <class From, class To>
void copy_weights(From& from, To& to) {
  struct source {
    std::string name;
    std::function<void(std::int64_t, std::int64_t, float*)> row;
  };
  std::vector<source> sources;
  auto const name = [](int layer, std::string_view part, tensor const& t) {
    return std::to_string(layer).append(" ").append(part).append(" ").append(t.name);
  };
  from.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    sources.push_back(
        {name(layer, part, t), [&data](std::int64_t copy, std::int64_t r, float* values) {
           data.get_row(copy, r, values);
         }});
  });
  std::size_t next = 0;
  std::vector<float> row;
  to.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    if (next == sources.size() || sources[next].name != name(layer, part, t))
      throw error(sentence("copy_weights: {} is not in both", name(layer, part, t)));
    row.resize(static_cast<std::size_t>(t.cols));
    for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
      sources[next].row(i / t.rows, i % t.rows, row.data());
      data.set_row(i / t.rows, i % t.rows, row.data());
    }
    ++next;
  });
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
