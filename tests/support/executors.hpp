// Execution policies with a reserved workspace.
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>

namespace test {

using cpu = plait::exec::cpu<>;
using reference = plait::exec::reference;

inline constexpr std::int64_t room = std::int64_t{1} << 22;

inline cpu cpu_with(int threads) {
  cpu exec(threads);
  exec.workspace.reserve(room);
  return exec;
}
template <plait::precision P>
plait::exec::cpu<P> cpu_in(int threads) {
  plait::exec::cpu<P> exec(threads);
  exec.workspace.reserve(room);
  return exec;
}
inline reference oracle() {
  reference exec;
  exec.workspace.reserve(room);
  return exec;
}

}  // namespace test
