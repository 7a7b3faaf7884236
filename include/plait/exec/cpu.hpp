// The CPU's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/host.hpp>
#include <plait/cpu/packed_storage.hpp>
#include <plait/policy/precision.hpp>

#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Packed weights, vector kernels and threads, with weights stored and products computed as
/// precision P says (policy/precision.hpp).
///
/// Equation: activations, sums and recurrent state are f32; weights have the types `P.weights` and
///   `P.experts`, products the type `P.compute`, keys and values the type `P.kv`. In every
///   precision a sequence's results are bitwise the same for any split into calls, any batch and
///   any number of threads, and on AVX2 and AVX-512
/// Shapes: `cpu()` takes all threads of the machine (OMP_NUM_THREADS), one where the compiler has
///   no OpenMP
/// Cost: that of the CPU's ops
/// Test: tests/unit/model/invariance_test.cpp, tests/checks/compile_fail/misuse.cpp
template <precision P = f32>
class cpu : public host {
 public:
  using value_type = float;   ///< of activations
  using output_type = float;  ///< of logits, the router's too
  static constexpr precision types = P;
  static constexpr dtype compute = P.compute;
  using storage_type = storage::packed<P.weights, P.experts>;
  using kv_type = std::conditional_t<P.kv == dtype::f32, float, bf16_t>;
  static_assert(P.kv != dtype::int8, "plait: keys and values are kept as f32 or bf16, not int8");

  cpu() : host(machine_threads()) {}
  explicit cpu(int threads) : host(threads) {}
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
