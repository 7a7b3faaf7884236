#include <plait/cuda.cuh>

#include <cstdio>

// Succeeds with a device, and without one where the error is plait's sentence.
int main() {
  try {
    plait::exec::cuda<> exec;
    plait::single_layer<256, plait::mamba{}, plait::exec::cuda<>> layer(42);
    layer.reserve(exec, 16);
    std::puts("there is a device");
  } catch (plait::error const& e) {
    std::puts(e.what());
    return std::string(e.what()).starts_with("exec::cuda: ") ? 0 : 1;
  }
}
