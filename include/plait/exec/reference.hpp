// The oracle's execution policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/storage.hpp>
#include <plait/exec/host.hpp>

namespace plait::inline PLAIT_ABI::exec {

/// Every op as plain loops in double, on one thread: what all others are compared with.
class reference : public host {
 public:
  using value_type = double;
  using output_type = double;
  using kv_type = double;
  using storage_type = storage::plain<double>;
  reference() : host(1) {}
};

}  // namespace plait::inline PLAIT_ABI::exec

#include <plait/core/epilogue.hpp>
