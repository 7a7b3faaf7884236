// The cost of each hyperparameter of a hybrid, at one width: parameters, state, keys and values,
// and tokens per second of prefill and decode; and prefill and decode on contexts of 1024 to 65536
// tokens for attention alone, a : m = 1 : 3, 1 : 7, and Mamba alone. README.md explains the names.
#include "sweep.hpp"

#include "command_line.hpp"

namespace bench {
template <>
void register_part<0>();
template <>
void register_part<1>();
template <>
void register_part<2>();
template <>
void register_part<3>();
}  // namespace bench

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    bench::register_part<0>();
    bench::register_part<1>();
    bench::register_part<2>();
    bench::register_part<3>();
  });
}
