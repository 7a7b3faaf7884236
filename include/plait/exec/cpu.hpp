// The CPU's execution policy.
#pragma once

#include <plait/core/storage.hpp>
#include <plait/exec/host.hpp>
#include <plait/policy/precision.hpp>

namespace plait::inline PLAIT_ABI::exec {

/// Packed weights and vector kernels. A sequence's results are bitwise the same however its tokens are split into calls, whatever else
/// is in the batch and however many threads run.
template <precision P = f32>
class cpu : public host {
  static_assert(P == f32, "plait: exec::cpu computes in f32 so far; bf16 and int8 are not implemented yet");

 public:
  using value_type = float;
  using storage_type = storage::packed;
  static constexpr precision types = P;

  /// All of the machine's threads by default; one where the compiler has no OpenMP.
  cpu() : host(machine_threads()) {}
  explicit cpu(int threads) : host(threads) {}
};

}  // namespace plait::inline PLAIT_ABI::exec
