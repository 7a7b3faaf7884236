// Every refusal of plait/benchmark.hpp. CASE and the numbered comments are those of rules.cpp.
#include <plait/benchmark.hpp>

using namespace plait;

/// An execution policy that no number of threads makes.
struct named : exec::cpu<> {
  explicit named(std::string const&) : exec::cpu<>(1) {}
};
/// A layer that states neither width nor policy.
struct silent {
  template <class Exec, class W, class See, class T = typename Exec::value_type>
  static void forward(Exec&, W const&, layer_settings const&, matrix_view<T const>, matrix_view<T>,
                      See&&) {}
};
/// A layer that states the policy of another layer.
struct borrowed : silent {
  static constexpr int d_model = 16;
  static constexpr auto policy = mlp{.d_ff = 8};
};
/// A subject without a cost.
template <class Exec>
struct costless {
  using exec_type = Exec;
  struct copy {};
  void begin(Exec&, bench::call const&) {}
  void prepare(Exec&, std::unique_ptr<copy>&) {}
  bench::verdict check(Exec&, copy&) { return {}; }
  void run(Exec&, copy&) {}
};
struct on_reference : costless<exec::reference> {
  bench::call_cost cost() const { return {}; }
};
inline constexpr hybrid<none, mamba, none, none> config{
    .d_model = 16, .vocab_size = 9, .layers = {.layers_per_block = 1, .recur = 1}};

int main() {
  using dense = layer<16, mlp{.d_ff = 8}>;
#if CASE == 0
  // 0: compiles
  bench::register_layer<dense, exec::cpu<bf16>>("name");
  bench::register_layer<single_layer<16, mamba{}>>("name");
  bench::register_model<config>("name");
#elif CASE == 1
  // 1: plait: register_layer needs a layer that says its width and policy
  bench::register_layer<silent>("name");
#elif CASE == 2
  // 2: plait: register_layer makes the layer of a policy
  bench::register_layer<borrowed>("name");
#elif CASE == 3
  // 3: plait: a benchmark counts bytes by its execution policy's precision
  bench::register_layer<dense, exec::reference>("name");
#elif CASE == 4
  // 4: plait: a benchmark makes its execution policy from a number of threads, or from nothing
  bench::register_layer<dense, named>("name");
#elif CASE == 5
  // 5: plait: a benchmark counts bytes by its execution policy's precision
  bench::register_model<config, exec::reference>("name");
#elif CASE == 6
  // 6: plait: register_subject needs a subject: exec_type, copy, begin, prepare, check, run and
  // cost
  bench::register_subject("name", costless<exec::cpu<>>());
#elif CASE == 7
  // 7: plait: a benchmark counts bytes by its execution policy's precision
  bench::register_subject("name", on_reference());
#endif
}
