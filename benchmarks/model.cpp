// Whole models: prefill of a prompt, decode of one sequence at several contexts, decode of several
// sequences together.
//
// By default a hybrid of 128 M parameters; with --large also that of 932 M, which has the layers of
// the other benchmarks and takes 4 GB.
#include "command_line.hpp"
#include "shapes.hpp"

#include <plait/benchmark.hpp>

#include <string>

namespace {

template <auto Config, plait::precision P>
void add(std::string const& name) {
  using Exec = plait::exec::cpu<P>;
  using options_type = plait::bench::model_options;
  plait::bench::register_model<Config, Exec>(
      name + "/prefill", bench::options_of<options_type>(bench::powers_of_two(2, 2048)));
  auto options = bench::options_of<options_type>({1});
  options.context = {0, 128, 2048, 8192};
  plait::bench::register_model<Config, Exec>(name + "/decode", options);
  options.context = {64};
  options.sequences = bench::powers_of_two(2, 32);
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
