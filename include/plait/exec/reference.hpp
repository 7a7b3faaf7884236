// The oracle's execution policy. The oracle: every op as plain loops in double, on one thread, with
// weights row-major in double.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/host.hpp>
#include <plait/core/storage.hpp>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Every op as plain loops in double, on one thread: what all others are compared with.
/// Equation: as each op's in ops/, with sums in the order they are written
/// Cost: 8 bytes a value; no packing, no blocking, no threads
/// Test: tests/unit/io/golden_test.cpp and tests/unit/layers/golden_test.cpp against PyTorch;
/// everything else
///   against it
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
