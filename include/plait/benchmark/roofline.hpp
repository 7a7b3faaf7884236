// What a machine can do at most: a peak of arithmetic and a bandwidth.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Two rates in units a second, from probe_roofline (benchmark/probe.hpp) or from a data sheet:
/// {.flops = 472e9, .bytes = 60e9}.
/// Equation: seconds = max(operations / flops, traffic / bytes)
/// Shapes: units a second. `arithmetic_of`: what the fastest of a precision's products are made of
/// Source: Williams, Waterman and Patterson, Roofline, CACM 2009
/// Test: tests/unit/benchmark/probe_test.cpp
struct roofline {
  double flops = 0;  ///< operations a second, a multiply-add is two
  double bytes = 0;  ///< bytes read from memory a second

  constexpr bool known() const { return flops > 0 && bytes > 0; }
  /// The least time in seconds for work of this many operations and bytes: the longer of the two.
  constexpr double seconds(double operations, double traffic) const {
    return std::max(operations / flops, traffic / bytes);
  }
};

/// What the fastest of a precision's products are made of, as its weights and `compute` say: the
/// peak that a roofline is drawn with. Norms, attention, convolution and scan are f32 in every
/// precision.
constexpr dtype arithmetic_of(precision const& p) {
  dtype const matrix = activation_type(p.weights, p.compute),
              expert = activation_type(p.experts, p.compute);
  if (matrix == dtype::int8 || expert == dtype::int8) return dtype::int8;
  return matrix == dtype::bf16 || expert == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
