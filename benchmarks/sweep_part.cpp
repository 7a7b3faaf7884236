// Part number PART of the architectures of bench_sweep. Each architecture is a type, so that the
// parts are compiled separately.
#include "command_line.hpp"
#include "sweep.hpp"

#include <plait/benchmark.hpp>

#include <string>

namespace bench {
namespace {

template <int a, int m, int e, int n, int K>
void add() {
  using exec = plait::exec::cpu<plait::f32>;
  std::string const name = "a" + std::to_string(a) + "m" + std::to_string(m) + "e" +
                           std::to_string(e) + "n" + std::to_string(n) + "K" + std::to_string(K);
  auto options = options_of<plait::bench::model_options>({512, 1});
  plait::bench::register_model<swept<a, m, e, n, K>, exec>("sweep/" + name, options);
  constexpr bool of_contexts = e == 2 && n == 8 && K == 2 && !(a == 1 && m == 1);
  if constexpr (of_contexts) {
    // One copy, so that a context is computed once: 200 MB of weights exceed the caches.
    options.weights = plait::bench::weights::warm;
    options.context = powers_of_two(1024, selected().max_context);
    if (!options.context.empty())
      plait::bench::register_model<swept<a, m, e, n, K>, exec>("context/" + name, options);
  }
}

}  // namespace

template <>
void register_part<PART>() {
#if PART == 0  // a : m
  add<1, 0, 2, 8, 2>();
  add<1, 1, 2, 8, 2>();
  add<1, 3, 2, 8, 2>();
#elif PART == 1
  add<1, 7, 2, 8, 2>();
  add<0, 1, 2, 8, 2>();
  add<1, 7, 0, 8, 2>();  // e
#elif PART == 2
  add<1, 7, 1, 8, 2>();
  add<1, 7, 4, 8, 2>();
  add<1, 7, 2, 4, 2>();  // n
#elif PART == 3
  add<1, 7, 2, 16, 2>();
  add<1, 7, 2, 32, 2>();
  add<1, 7, 2, 8, 1>();  // K
  add<1, 7, 2, 8, 4>();
#endif
}

}  // namespace bench
