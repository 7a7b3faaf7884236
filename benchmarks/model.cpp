// Steps of a whole model: prefill of a prompt, decode of one sequence at several contexts, decode
// of several sequences together.
//
// By default a hybrid of 128 M parameters; with --large also the one of 932 M, whose layers the
// other benchmarks time (4 GB).
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

#include <string>

namespace {

template <auto Config, plait::precision P>
void add(std::string const& name) {
  using Exec = plait::exec::cpu<P>;
  plait::bench::model_options options{.threads = bench::selected().threads,
                                      .weights = bench::selected().weights,
                                      .routing = bench::selected().routing,
                                      .by_layer = bench::selected().by_layer};
  options.tokens.clear();
  for (std::int64_t tokens = 2; tokens <= 2048; tokens *= 2) options.tokens.push_back(tokens);
  plait::bench::register_model<Config, Exec>(name + "/prefill", options);
  options.tokens = {1};
  options.context = {0, 128, 2048, 8192};
  plait::bench::register_model<Config, Exec>(name + "/decode", options);
  options.context = {64};
  options.sequences = {2, 4, 8, 16, 32};
  plait::bench::register_model<Config, Exec>(name + "/decode_together", options);
}

template <auto Config>
void add_all(std::string const& name) {
  using namespace plait;
  add<Config, f32>(name);
  add<Config, bf16>(name);
  add<Config, with_compute(bf16, dtype::bf16)>(name);
  add<Config, int8>(name);
  add<Config, with_compute(int8, dtype::int8)>(name);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    add_all<bench::config_128m>("128M");
    if (bench::selected().large) add_all<bench::config_1b>("932M");
  });
}
