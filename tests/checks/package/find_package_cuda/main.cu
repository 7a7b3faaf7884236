#include <plait/cuda.cuh>

#include <cstdio>

// With a device or without one: either is fine here, a sentence in the second case.
int main() {
  try {
    plait::exec::cuda<> exec;
    plait::single_layer<256, plait::mamba{}, plait::exec::cuda<>> layer(42);
    layer.reserve(exec, 16);
    std::puts("there is a device");
  } catch (plait::error const& e) {
    return std::puts(e.what()), std::string(e.what()).starts_with("exec::cuda: ") ? 0 : 1;
  }
}
