// The roofline of a machine: its peak of arithmetic and its memory bandwidth.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Two rates per second, from probe_roofline (benchmark/probe.hpp) or from a data sheet:
/// {.flops = 472e9, .bytes = 60e9}.
/// Equation: seconds = max(operations / flops, traffic / bytes)
/// Source: Williams, Waterman and Patterson, Roofline, CACM 2009
/// Test: tests/unit/benchmark/probe_test.cpp
struct roofline {
  double flops = 0;  ///< operations per second; a multiply-add is two
  double bytes = 0;  ///< bytes read from memory per second

  constexpr bool known() const { return flops > 0 && bytes > 0; }
  /// The least time of work with this many operations and bytes of traffic.
  constexpr double seconds(double operations, double traffic) const {
    return std::max(operations / flops, traffic / bytes);
  }
};

/// The type of a precision's fastest products on the CPU: the roofline has the peak of this type.
/// It follows from weights, experts and `compute`; norms, attention, convolution and scan are f32
/// in every precision.
/// Test: tests/unit/benchmark/explain_test.cpp
constexpr dtype arithmetic_of(precision const& p) {
  dtype const matrix = activation_type(p.weights, p.compute);
  dtype const expert = activation_type(p.experts, p.compute);
  if (matrix == dtype::int8 || expert == dtype::int8) return dtype::int8;
  return matrix == dtype::bf16 || expert == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
