// Calls step for every instruction set of this machine, prints the inline namespaces, and compares
// the results.
#include "step.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

step_result step_base();
step_result step_avx2();
step_result step_avx512();
step_result step_avx512_omp();

namespace {

struct level {
  char const* name;
  int packet;
  bool here;
  step_result (*step)();
};

}  // namespace

int main() {
  __builtin_cpu_init();
  bool const avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  bool const avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw");
  level const levels[] = {
    {"base_serial", 4, true, step_base},
    {"avx2_serial", 8, avx2, step_avx2},
    {"avx512_serial", 16, avx512, step_avx512},
#if defined(WITH_OPENMP)
    {"avx512_omp", 16, avx512, step_avx512_omp},
#endif
  };
  step_result const base = step_base();
  step_result fused;  // the first with FMA: all of these agree to the last bit
  int failures = 0;
  for (level const& l : levels) {
    if (!l.here) {
      std::printf("SKIPPED: this machine has no %s\n", l.name);
      continue;
    }
    step_result const got = l.step();
    std::printf("%s\n", got.abi.c_str());
    if (got.abi.find(l.name) == std::string::npos || got.packet != l.packet) {
      std::printf("FAILED: %s ran %s with registers of %d floats\n", l.name, got.abi.c_str(),
                  got.packet);
      ++failures;
    }
    if (got.parameters != base.parameters || got.parameters <= 0) {
      std::printf("FAILED: %s counts %lld parameters, the base %lld\n", l.name, got.parameters,
                  base.parameters);
      ++failures;
    }
    float worst = 0, most = 0;
    for (std::size_t i = 0; i < base.logits.size(); ++i) {
      worst = std::fmax(worst, std::fabs(got.logits[i] - base.logits[i]));
      most = std::fmax(most, std::fabs(base.logits[i]));
    }
    if (!(worst <= 1e-5f * most && most > 0)) {  // f32 with and without FMA
      std::printf("FAILED: %s differs from the base by %g of %g\n", l.name, double{worst},
                  double{most});
      ++failures;
    }
    if (l.packet == 4) continue;
    if (fused.logits.empty()) fused = got;
    if (std::memcmp(got.logits.data(), fused.logits.data(), got.logits.size() * sizeof(float)) !=
        0) {
      std::printf("FAILED: %s and %s have other bits\n", got.abi.c_str(), fused.abi.c_str());
      ++failures;
    }
  }
  return failures == 0 ? 0 : 1;
}
