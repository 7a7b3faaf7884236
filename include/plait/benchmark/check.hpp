// Whether a result is right before it is timed: the same weights in the reference, and how far
// rounding may lead.
// Equation: allowed, as a share of the reference's largest value: 1e-4 where products are f32; 1e-2
//   where keys and values are bf16, each rounded by up to 2^-9; 5e-2 where activations are rounded
//   to bf16; 2e-1 where they are rounded to 8 bits, 1/254 of their token's largest. On a device,
//   where f32 weights have f32 activations and all others bf16: 1e-4; 5e-2 of a layer, 1e-1 of
//   several, 2e-1 where these route, since an expert whose turn comes by a hair may be another one
// Shapes: `compare` of two [rows, cols]; `copy_weights` between two models or layers on two
//   execution policies, by `get_row` and `set_row`
// Errors:
//   - `the result is off by … where the reference reaches …; allowed is a share of …`: from
//     `complaint`, as a text; empty if all is well
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

/// How far a result may be from the reference's with the same, dequantised weights, as a share of
/// the reference's largest value.
///
/// - products of f32: sums of thousands of f32 products are off by about 1e-6 of the largest, a
///   wrong kernel by more than 1e-4.
/// - keys and values in bf16: each rounded by up to 2^-9, scores and averages with it: 1e-2.
/// - of bf16: activations rounded by up to 2^-9 before every product, several products in a row:
///   5e-2.
/// - of int8: activations rounded to 1/254 of their token's largest, which is up to ten times the
///   others: 2e-1.
inline double tolerance(precision const& p, bool keeps_keys) {
  dtype const products = arithmetic_of(p);
  double const computed = products == dtype::f32 ? 1e-4 : products == dtype::bf16 ? 5e-2 : 2e-1;
  double const kept = keeps_keys && p.kv != dtype::f32 ? 1e-2 : 0;
  return std::max(computed, kept);
}

/// The same on a device, where activations are bf16 unless weights are f32.
///
/// - `f32`: sums in other orders, as above.
/// - a layer in bf16: its inputs, and what it computes on the way, some ten times, are rounded by
///   up to 2^-9: 5e-2.
/// - several layers: roundings of one are inputs of the next: 1e-1.
/// - several layers that route: an expert whose turn comes by a hair may be another one: 2e-1.
///
/// A kernel that is wrong is off by about 1.
inline double device_tolerance(precision const& p, std::int64_t layers, bool routes) {
  if (p.weights == dtype::f32) return 1e-4;
  return layers == 1 ? 5e-2 : routes ? 2e-1 : 1e-1;
}

/// The largest difference of two results, and what the expected one reaches.
struct difference {
  double worst = 0, largest = 0;
  /// As a share of the largest value; of 0, where nothing differs.
  double relative() const { return worst == 0 ? 0 : worst / largest; }
  /// A sentence, or nothing if it is within `bound`. A NaN, and an expectation of nothing but
  /// zeros, is never right.
  std::string complaint(double bound) const {
    if (worst <= bound * largest && largest > 0) return {};
    return "the result is off by " + std::to_string(worst) + " where the reference reaches " +
           std::to_string(largest) + "; allowed is a share of " + std::to_string(bound);
  }
};

/// The outcome of a check: a sentence where the result is wrong, and how far it is from the
/// reference's as a share of its largest value.
struct verdict {
  static constexpr double unchecked = -1;
  std::string wrong = {};
  double off = unchecked;
  bool is_checked() const { return off >= 0; }
};

namespace detail {
template <class T>
double as_double(T value) {
  return static_cast<double>(value);
}
inline double as_double(bf16_t value) { return static_cast<double>(static_cast<float>(value)); }
}  // namespace detail

/// How far a result is from what is expected.
template <class A, class B>
difference compare(matrix_view<A const> result, matrix_view<B const> expected) {
  difference d;
  for (std::int64_t r = 0; r < expected.rows(); ++r)
    for (std::int64_t c = 0; c < expected.cols(); ++c) {
      double const is = detail::as_double(expected(r, c)),
                   off = std::abs(is - detail::as_double(result(r, c)));
      d.largest = std::max(d.largest, std::abs(is));
      if (!(off <= d.worst) && !std::isnan(d.worst)) d.worst = off;  // NaN too, and it stays
    }
  return d;
}

/// The first row whose bits differ, or -1.
template <class T>
std::int64_t differing_row(matrix_view<T const> a, matrix_view<T const> b) {
  for (std::int64_t r = 0; r < a.rows(); ++r)
    if (std::memcmp(a.row(r), b.row(r), sizeof(T) * static_cast<std::size_t>(a.cols())) != 0)
      return r;
  return -1;
}

/// The first rows of a call with `tokens` tokens compared with the same rows computed by a call
/// with few: bit for bit on the CPU; within `allowed` on a device, where products of many rows are
/// summed in another order. The difference as a sentence; empty where they agree.
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

/// Gives `to` the values of `from` as it keeps them: rounded, dequantised. Both are the same model
/// or layer on two execution policies.
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
      throw error("copy_weights: " + name(layer, part, t) + " is not in both");
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
