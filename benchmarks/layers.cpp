// Each kind of layer alone, at its shapes in a hybrid of a quarter of Jamba v0.1's width
// (shapes.hpp). A layer of your own is one more line.
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

namespace {

template <auto Policy, class Exec>
void add(char const* name) {
  using layer = plait::layer<bench::d_model, Policy>;
  using options_type = plait::bench::layer_options;
  plait::bench::register_layer<layer, Exec>(
      name, bench::options_of<options_type>(bench::powers_of_two(1, 2048)));
  if (plait::policies::kv(Policy, bench::d_model) > 0) {  // cached keys
    auto options = bench::options_of<options_type>({1, 512});
    options.context = {512, 2048, 8192};
    plait::bench::register_layer<layer, Exec>(name, options);
  }
}

template <plait::precision P>
void add_all() {
  using Exec = plait::exec::cpu<P>;
  add<bench::config_1b.attention, Exec>("attention");
  add<bench::config_1b.recurrent, Exec>("mamba");
  add<bench::config_1b.dense, Exec>("mlp");
  add<bench::config_1b.sparse, Exec>("moe");
}

}  // namespace

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    using namespace plait;
    add_all<f32>();
    add_all<bf16>();
    add_all<with_compute(bf16, dtype::bf16)>();
    add_all<int8>();
    add_all<with_compute(int8, dtype::int8)>();
  });
}
