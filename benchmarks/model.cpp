// Steps of a whole model: prefill of a prompt, decode of one sequence at several contexts, decode of several sequences together.
//
// By default a hybrid of 128 M parameters; with --large also the one of 932 M, whose layers the other benchmarks time (4 GB).
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

#include <string>

namespace {

template <auto Config, class Exec>
void add(std::string const& name) {
  plait::bench::model_options options{.threads = bench::selected().threads,
                                      .weights = bench::selected().weights,
                                      .routing = bench::selected().routing,
                                      .by_layer = bench::selected().by_layer};
  options.tokens.clear();
  for (std::int64_t tokens = 2; tokens <= 2048; tokens *= 2) options.tokens.push_back(tokens);
  plait::bench::register_model<Config, Exec>(name + "/prefill", options);
  options.tokens = {1}, options.context = {0, 128, 2048, 8192};
  plait::bench::register_model<Config, Exec>(name + "/decode", options);
  options.context = {64}, options.sequences = {2, 4, 8, 16, 32};
  plait::bench::register_model<Config, Exec>(name + "/decode_together", options);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    add<bench::config_128m, plait::exec::cpu<plait::f32>>("128M");
    if (bench::selected().large) add<bench::config_1b, plait::exec::cpu<plait::f32>>("932M");
  });
}
