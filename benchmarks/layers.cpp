// Each kind of layer alone, in a hybrid of a quarter of Jamba v0.1's width (shapes.hpp). A
// component of one's own is one more line.
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

namespace {

constexpr std::int64_t max_tokens = 2048;

template <auto Policy, class Exec>
void add(char const* name) {
  using layer = plait::layer<bench::d_model, Policy>;
  plait::bench::layer_options options{.threads = bench::selected().threads,
                                      .weights = bench::selected().weights,
                                      .routing = bench::selected().routing};
  options.tokens.clear();
  for (std::int64_t n = 1; n <= max_tokens; n *= 2) options.tokens.push_back(n);
  plait::bench::register_layer<layer, Exec>(name, options);
  if (plait::policies::kv(Policy, bench::d_model) > 0) {  // what depends on the context
    options.tokens = {1, 512};
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
