// Which element type each kind of tensor has; a template argument of execution policies and an
// argument of the counts.
#pragma once

#include <plait/core/prologue.hpp>

#include <cstdint>

namespace plait {

/// An element type.
enum class dtype : unsigned char { f32, bf16, int8 };

/// Storage by role, arithmetic, key-value cache.
/// Equation: an int8 matrix has a 16-bit scale for every block of 32 along the columns: rows
///   (cols + 2 ceil(cols / 32)) bytes
/// Equation: activations meet weights stored as s rounded to activation_type(s, compute): with
///   compute f32 not at all; with bf16 to bf16 where s is bf16; with int8 to s itself. An int8
///   activation is a whole multiple, from -127 to 127, of its row's largest magnitude / 127
/// Shapes: `value_bytes` is 4, 2 and 1; norms, router, A, D, biases and recurrent state are f32 in
///   every precision
/// Errors: none here; exec/cpu.hpp refuses int8 keys and values
/// Test: tests/unit/policy/policy_test.cpp
struct precision {
  dtype weights = dtype::f32, experts = dtype::f32, compute = dtype::f32, kv = dtype::f32;
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

/// The same storage with the products of activations rounded to `compute`: with_compute(int8,
/// dtype::int8) is what engines call q8_0.
constexpr precision with_compute(precision p, dtype compute) {
  p.compute = compute;
  return p;
}

/// What the activations are rounded to when they meet weights stored as `stored`: never more
/// coarsely than the weights are, and only as far as `compute` asks for it. f32 computes with the
/// stored weights exactly; bf16 rounds activations that meet bf16 weights; int8 rounds those that
/// meet int8 weights to 8 bits with a scale a token, and those that meet bf16 weights to bf16. Sums
/// are always f32.
constexpr dtype activation_type(dtype stored, dtype compute) {
  if (compute == dtype::int8) return stored;
  return compute == dtype::bf16 && stored == dtype::bf16 ? dtype::bf16 : dtype::f32;
}

/// Bytes of one value of the key-value cache.
constexpr int value_bytes(dtype t) { return t == dtype::f32 ? 4 : t == dtype::bf16 ? 2 : 1; }

/// Bytes of an [rows, cols] matrix. int8 has a 16-bit scale for every block of 32 along the
/// columns.
constexpr std::int64_t matrix_bytes(dtype t, std::int64_t rows, std::int64_t cols) {
  return rows * (cols * value_bytes(t) + (t == dtype::int8 ? 2 * ((cols + 31) / 32) : 0));
}

}  // namespace plait

#include <plait/core/epilogue.hpp>
