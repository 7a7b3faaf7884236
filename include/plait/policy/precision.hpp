// The element type of each kind of tensor: a template argument of execution policies, an argument
// of the counts.
#pragma once

#include <plait/core/prologue.hpp>

#include <cstdint>

namespace plait {

/// An element type.
enum class dtype : unsigned char { f32, bf16, int8 };

/// Element types of weights, experts, keys and values (`kv`), and of the activations in products
/// (`compute`).
/// Equation: an int8 activation is an integer from -127 to 127 times the maximum magnitude of its
///   row / 127
/// Shapes: norms, router, A, D, biases and recurrent state are f32 in every precision
/// Errors: none; exec/cpu.hpp refuses int8 keys and values
/// Test: tests/unit/policy/policy_test.cpp
struct precision {
  dtype weights = dtype::f32;
  dtype experts = dtype::f32;
  dtype compute = dtype::f32;
  dtype kv = dtype::f32;
  friend constexpr bool operator==(precision const&, precision const&) = default;
};

/// Everything in f32.
inline constexpr precision f32{};
/// Weights, keys and values in bf16.
inline constexpr precision bf16{.weights = dtype::bf16, .experts = dtype::bf16, .kv = dtype::bf16};
/// Weights in int8, keys and values in bf16.
inline constexpr precision int8{.weights = dtype::int8, .experts = dtype::int8, .kv = dtype::bf16};
/// Experts in int8, everything else in bf16.
inline constexpr precision experts_int8{
    .weights = dtype::bf16, .experts = dtype::int8, .kv = dtype::bf16};

/// The same storage with activations rounded to `compute` in products: with_compute(int8,
/// dtype::int8) is the q8_0 of other engines.
constexpr precision with_compute(precision p, dtype compute) {
  p.compute = compute;
  return p;
}

/// The type to which activations are rounded in products with weights stored as `stored`. Sums are
/// always f32.
///
/// - compute f32: f32, no rounding
/// - compute bf16: bf16 for bf16 weights, otherwise f32
/// - compute int8: the type of the weights; int8 has one scale per token
constexpr dtype activation_type(dtype stored, dtype compute) {
  if (compute == dtype::int8) return stored;
  return compute == dtype::bf16 && stored == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

/// Bytes of one value.
constexpr int value_bytes(dtype t) { return t == dtype::f32 ? 4 : t == dtype::bf16 ? 2 : 1; }

/// Bytes of a matrix [rows, cols]. int8 has a 16-bit scale per block of 32 columns:
/// rows (cols + 2 ceil(cols / 32)) bytes.
constexpr std::int64_t matrix_bytes(dtype t, std::int64_t rows, std::int64_t cols) {
  return rows * (cols * value_bytes(t) + (t == dtype::int8 ? 2 * ((cols + 31) / 32) : 0));
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
