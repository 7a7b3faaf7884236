// The CPU's execution policy. The CPU: packed weights in f32, bf16 or int8, vector kernels,
// threads.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/half.hpp>
#include <plait/core/host.hpp>
#include <plait/cpu/packed_storage.hpp>
#include <plait/policy/precision.hpp>

#include <type_traits>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Packed weights and vector kernels, with weights stored and products computed as precision P says
/// (policy/precision.hpp); activations, sums and recurrent state are f32. A sequence's results are
/// bitwise the same however its tokens are split into calls, whatever else is in the batch and
/// however many threads run, in every precision.
/// Equation: activations, sums and recurrent state are f32; weights are stored as `P.weights` and
///   `P.experts` say, products made as `P.compute` says (policy/precision.hpp), keys and values
///   kept as `P.kv`; in every precision a sequence's results are bitwise the same for any split
///   into calls, any batch and any number of threads, and on AVX2 and AVX-512
/// Shapes: `cpu()` takes all of the machine's threads (OMP_NUM_THREADS), one where the compiler has
///   no OpenMP
/// Cost: none of its own; the kernels are in ops/cpu/
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

  /// All of the machine's threads by default; one where the compiler has no OpenMP.
  cpu() : host(machine_threads()) {}
  explicit cpu(int threads) : host(threads) {}
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
