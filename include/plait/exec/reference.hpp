// The reference's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/host.hpp>
#include <plait/core/storage.hpp>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Every op as plain loops in double, on one thread, with row-major weights in double: the
/// reference that all other execution policies are compared with.
///
/// Equation: as each op's contract in ops/, with sums in the order in which they are written
/// Cost: 8 bytes per value; no packing, no blocking, no threads
/// Test: tests/unit/io/golden_test.cpp, tests/unit/layers/golden_test.cpp, against PyTorch; the
///   tests of all others against it
class reference : public host {
 public:
  using value_type = double;
  using output_type = double;
  using kv_type = double;
  using storage_type = storage::plain<double>;
  reference() : host(1) {}
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
