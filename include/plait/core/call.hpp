// One call of forward: its inputs, and the shape by which a device recognises an equal call.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN

/// The inputs of a call of forward other than weights and activations.
/// Shapes: `ids` [rows], unspecified where a row is an embedding; `wanted` [outputs], the rows of
///   the activations that are output rows
/// Test: tests/unit/exec/device_test.cpp
template <class T>
struct call_inputs {
  sequences<T> seqs;
  std::int32_t const* ids = nullptr;
  std::int64_t const* wanted = nullptr;
  std::int64_t outputs = 0;
};

/// The shape of a call of forward. Calls of equal shape launch the same kernels, so that a device
/// may replay a captured call (exec/device.hpp).
/// Shapes: `sequences`, `rows`, `longest` and `context` as in core/sequences.hpp; `outputs` is the
///   number of output rows
/// Test: tests/unit/exec/device_test.cpp
struct call_shape {
  void const* model = nullptr;
  void const* out = nullptr;
  std::int64_t sequences = 0;
  std::int64_t rows = 0;
  std::int64_t longest = 0;
  std::int64_t outputs = 0;
  std::int64_t context = 0;
  bool repeatable = false;  ///< no observer, and all tokens are ids
  friend bool operator==(call_shape const&, call_shape const&) = default;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
