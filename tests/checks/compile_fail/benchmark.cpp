// What the compiler says of misuse of plait/benchmark.hpp: CASE selects, and a line "// N:
// sentence" says what case N has to print.
#include <plait/benchmark.hpp>

using namespace plait;

struct alone : exec::cpu<> {
  explicit alone(std::string const&) : exec::cpu<>(1) {}
};
/// What many layers look like before anybody measures them.
struct silent {
  template <class Exec, class W, class See, class T = typename Exec::value_type>
  static void forward(Exec&, W const&, layer_settings const&, matrix_view<T const>, matrix_view<T>,
                      See&&) {}
};
/// Says the policy of another layer.
struct borrowed : silent {
  static constexpr int d_model = 16;
  static constexpr auto policy = mlp{.d_ff = 8};
};
/// Says nothing of its cost.
struct costless {
  using exec_type = exec::cpu<>;
  struct copy {};
  void begin(exec::cpu<>&, bench::call const&) {}
  void prepare(exec::cpu<>&, std::unique_ptr<copy>&) {}
  bench::verdict check(exec::cpu<>&, copy&) { return {}; }
  void run(exec::cpu<>&, copy&) {}
};
struct on_reference : costless {
  using exec_type = exec::reference;
  void begin(exec::reference&, bench::call const&) {}
  void prepare(exec::reference&, std::unique_ptr<copy>&) {}
  bench::verdict check(exec::reference&, copy&) { return {}; }
  void run(exec::reference&, copy&) {}
  bench::call_cost cost() const { return {}; }
};
inline constexpr hybrid<none, mamba, none, none> config{
    .d_model = 16, .vocab_size = 9, .layers = {.layers_per_block = 1, .recur = 1}};

int main() {
  using dense = layer<16, mlp{.d_ff = 8}>;
#if CASE == 0
  bench::register_layer<dense, exec::cpu<bf16>>("name");  // 0: compiles
  bench::register_layer<single_layer<16, mamba{}>>("name");
  bench::register_model<config>("name");
#elif CASE == 1
  bench::register_layer<silent>(
      "name");  // 1: plait: register_layer needs a layer that says its width and policy
#elif CASE == 2
  bench::register_layer<borrowed>(
      "name");  // 2: plait: register_layer makes the layer of a policy anew
#elif CASE == 3
  bench::register_layer<dense, exec::reference>(
      "name");  // 3: plait: a benchmark counts bytes by its execution policy's precision
#elif CASE == 4
  bench::register_layer<dense, alone>("name");  // 4: plait: a benchmark makes its execution policy
                                                // from a number of threads, or from nothing
#elif CASE == 5
  bench::register_model<config, exec::reference>(
      "name");  // 5: plait: a benchmark counts bytes by its execution policy's precision
#elif CASE == 6
  bench::register_subject("name",
                          costless());  // 6: plait: register_subject needs a subject: exec_type,
                                        // copy, begin, prepare, check, run and cost
#elif CASE == 7
  bench::register_subject(
      "name",
      on_reference());  // 7: plait: a benchmark counts bytes by its execution policy's precision
#endif
}
