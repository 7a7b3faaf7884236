// main of the tests that need a device. Without one they are skipped, with the reason; with
// PLAIT_REQUIRE_GPU=1 they fail.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <plait/cuda/exec.cuh>

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  try {
    plait::exec::cuda_runtime const device;
  } catch (plait::error const& reason) {
    char const* const required = std::getenv("PLAIT_REQUIRE_GPU");
    bool const fails = required != nullptr && std::strcmp(required, "1") == 0;
    std::printf("%s: %s\n", fails ? "FAILED" : "SKIPPED", reason.what());
    return fails ? 1 : 77;
  }
  return doctest::Context(argc, argv).run();
}
