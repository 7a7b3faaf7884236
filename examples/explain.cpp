// The least time of a call on this machine, by its roofline: Jamba v0.1 layer by layer.
//
//   explain [tokens [context [threads]]]
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/probe.hpp>
#include <plait/plait.hpp>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  std::int64_t const tokens = argc > 1 ? std::atoll(argv[1]) : 1,
                     context = argc > 2 ? std::atoll(argv[2]) : 0;
  plait::exec::cpu<> exec =
      argc > 3 ? plait::exec::cpu<>(std::atoi(argv[3])) : plait::exec::cpu<>();
  plait::bench::roofline const machine = plait::bench::probe_roofline(exec);
  try {
    std::cout << plait::bench::explain<plait::configs::jamba_v0_1>(plait::int8, tokens, context,
                                                                   machine);
  } catch (plait::error const& e) {
    std::cerr << argv[0] << ": " << e.what() << '\n';
    return 1;
  }
}
