// Queries to the fake CUDA that preloads this program (fake_cuda.cpp).
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace test {

struct fake_launch {
  char const* kernel;  ///< demangled; "gemm": a product of cuBLASLt; "graph": a replay
  long grid[3];
  long threads;
  long nodes;     ///< kernels and products that a graph launches
  bool captured;  ///< recorded into a graph, not launched
};

/// The functions of fake_cuda.cpp, resolved at run time: programs are linked without it.
class fake_cuda {
 public:
  static bool preloaded() { return dlsym(RTLD_DEFAULT, "fake_cuda_reset") != nullptr; }
  /// Clears launches, problems, counts and requested failures; the device works again.
  static void reset() { call<void()>("fake_cuda_reset")(); }
  static std::vector<fake_launch> launches() {
    std::vector<fake_launch> all(std::size_t(call<long()>("fake_cuda_launches")()));
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = *call<fake_launch const*(long)>("fake_cuda_launch")(long(i));
    return all;
  }
  /// What a device refuses or does wrong, a sentence each.
  static std::vector<std::string> problems() {
    std::vector<std::string> all(std::size_t(call<long()>("fake_cuda_problems")()));
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = call<char const*(long)>("fake_cuda_problem")(long(i));
    return all;
  }
  /// The `nth` call of a function from now on (1: the next) returns `code`.
  static void fail(char const* function, long nth, int code) {
    call<void(char const*, long, int)>("fake_cuda_fail")(function, nth, code);
  }
  /// Properties of the device: capability (80, 90, ...), devices, memory (bytes), driver (version),
  /// multiprocessor_count.
  static void set(char const* what, long value) {
    call<void(char const*, long)>("fake_cuda_set")(what, value);
  }
  /// in_use: bytes of device memory in use; or how often a function has been called.
  static long get(char const* what) { return call<long(char const*)>("fake_cuda_get")(what); }

 private:
  template <class Function>
  static Function* call(char const* name) {
    void* const f = dlsym(RTLD_DEFAULT, name);
    if (f == nullptr)
      throw std::runtime_error(std::string(name) + ": this program was not started with fake_cuda");
    return reinterpret_cast<Function*>(f);
  }
};

}  // namespace test
