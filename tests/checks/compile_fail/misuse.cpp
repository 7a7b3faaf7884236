// Everything else that is refused when compiled. The numbered comments are as in rules.cpp.
#if CASE == 9
#define __FAST_MATH__ 1  // 9: plait: -ffast-math
#endif
#if CASE == 18
#define __SANITIZE_THREAD__ 1  // 18: plait: the emulator finds races with clang++
#endif
#if CASE == 18 || CASE == 19
#include <plait/emulator/exec.hpp>
#endif
#if CASE == 15
#include <plait/io.hpp>
#endif
#if CASE == 16 || CASE == 17
#include <plait/exec/device.hpp>
#endif
#include <plait/plait.hpp>

#include <Eigen/Core>

using namespace plait;

#if CASE == 0  // 0: compiles
inline constexpr hybrid<none, mamba, none, none> fine{
    .d_model = 16, .vocab_size = 9, .layers = {.blocks = 1, .layers_per_block = 3, .recur = 1}};
template class plait::model<fine>;
template class plait::session<plait::model<fine>>;
#elif CASE == 1  // a layer of nothing
inline constexpr hybrid<attention, none, mlp, none> gap{
    .d_model = 16,
    .vocab_size = 9,
    .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 2}};
inline constexpr hybrid<attention, none, none, none> empty{
    .d_model = 16,
    .vocab_size = 9,
    .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 2}};
template class plait::model<empty>;  // 1: plait: every layer needs a mixer or a feed-forward
#elif CASE == 2
inline constexpr auto unbased = [] {
  auto c = configs::mixtral_8x7b;
  c.rope_theta = 0;
  return c;
}();
template class plait::model<unbased>;  // 2: plait: rotary positions need rope_theta
#elif CASE == 3
void f(exec::cpu<precision{.kv = dtype::int8}>& e) {
  e.threads();
}  // 3: plait: keys and values are kept as f32 or bf16, not int8
#elif CASE == 4
void f(weights<mlp{.d_ff = 8}, 16, storage::packed<>>& w) {
  w.get<"gate">();
}  // 4: plait: this component has no tensor of that name
#elif CASE == 5
void g(matrix_view<float>);
void f(Eigen::MatrixXf& m) { g(m); }  // 5: plait: views are row-major
#elif CASE == 6
void g(matrix_view<float>);
void f(Eigen::Map<Eigen::Matrix<float, -1, -1, Eigen::RowMajor>, 0, Eigen::Stride<-1, 2>> m) {
  g(m);
}  // 6: plait: the values of a row must be contiguous
#elif CASE == 7
struct mine {
  friend constexpr bool operator==(mine const&, mine const&) = default;
};
layer<16, mine{}> l;  // 7: plait: no layer is bound to this policy
#elif CASE == 8
struct nowhere : exec::host {
  using value_type = float;
  using output_type = float;
  nowhere() : host(1) {}
};
void f(nowhere& e) {
  ops::route(e, {}, {}, router_weights::as_they_are);
}  // 8: plait: route has no implementation for this execution policy
#elif CASE == 10  // the other ops, by the classes that their functions look for; copying is there
                  // for every policy of this machine
struct nowhere {
  using value_type = float;
};
template struct plait::ops::add_norm_op<nowhere>;  // 10: plait: add_norm has no implementation for
                                                   // this execution policy
template struct plait::ops::add_residual_op<nowhere>;  // 10: plait: add_residual has no
                                                       // implementation for this execution policy
template struct plait::ops::paged_attention_op<nowhere>;  // 10: plait: attend has no implementation
                                                          // for this execution policy
template struct plait::ops::conv_silu_op<nowhere>;  // 10: plait: conv_silu has no implementation
                                                    // for this execution policy
template struct plait::ops::embed_op<nowhere>;    // 10: plait: embed has no implementation for this
                                                  // execution policy
template struct plait::ops::experts_op<nowhere>;  // 10: plait: experts has no implementation for
                                                  // this execution policy
template struct plait::ops::gated_linear_op<nowhere>;  // 10: plait: gated_linear has no
                                                       // implementation for this execution policy
template struct plait::ops::gather_rows_op<nowhere>;   // 10: plait: gather_rows has no
                                                       // implementation for this execution policy
template struct plait::ops::linear_op<nowhere>;  // 10: plait: linear has no implementation for this
                                                 // execution policy
template struct plait::ops::rope_op<nowhere>;    // 10: plait: rotate has no implementation for this
                                                 // execution policy
template struct plait::ops::selective_scan_op<nowhere>;  // 10: plait: selective_scan has no
                                                         // implementation for this execution policy
#elif CASE == 11
inline constexpr hybrid<none, mamba, none, none> layers{
    .d_model = 16, .vocab_size = no_vocabulary, .layers = {.layers_per_block = 3, .recur = 1}};
template class plait::reference_model<layers>;  // 11: plait: reference_model runs from ids to
                                                // logits
#elif CASE == 12
plait::single_layer<16, rms_norm{}> l;  // 12: plait: single_layer needs a layer whose forward is
                                        // that of a mixer or of a feed-forward
#elif CASE == 13  // a mixer that does not say whether it can be continued
struct silent {
  friend constexpr bool operator==(silent const&, silent const&) = default;
};
template <class Visit>
constexpr void describe(silent const&, int, Visit&&) {}
template <int D, silent P>
struct silent_layer {
  template <class Exec, class W, class See, class T = typename Exec::value_type>
  static void forward(Exec&, W const&, layer_settings const&, sequences<T> const&,
                      matrix_view<std::type_identity_t<T> const>,
                      matrix_view<std::type_identity_t<T>>, See&&) {}
};
template <>
struct plait::layer_of<silent> {
  template <int D, silent P>
  using bind = silent_layer<D, P>;
};
inline constexpr hybrid<none, silent, none, none> unsaid{
    .d_model = 16, .vocab_size = 9, .layers = {.layers_per_block = 1, .recur = 1}};
template class plait::model<unsaid>;  // 13: plait: a mixer declares its chunked-prefill guarantee
#elif CASE == 14
struct empty {
  int d_model = 16, vocab_size = plait::no_vocabulary;
  rms_norm norm{};
  float norm_eps = 1e-6f;
  bool tie_embeddings = false;
  constexpr auto mixers() const { return std::tuple{none{}}; }
  constexpr auto ffns() const { return std::tuple{mlp{.d_ff = 8}}; }
  constexpr int num_layers() const { return 0; }
  constexpr int mixer_at(int) const { return 0; }
  constexpr int ffn_at(int) const { return 0; }
  friend constexpr bool operator==(empty const&, empty const&) = default;
};
template class plait::model<empty{}>;  // 14: plait: a model needs at least one layer
#elif CASE == 15
auto const written = io::hyperparameter_value(
    positions::rotary);  // 15: plait: hyperparameters visits integers, bools, floats and texts
#elif CASE == 18
inline constexpr hybrid<none, mamba, none, none> layers{
    .d_model = 16, .vocab_size = no_vocabulary, .layers = {.layers_per_block = 3, .recur = 1}};
template class plait::session<plait::model<layers>>;  // 18: plait: a session goes from token ids to
                                                      // logits
#elif CASE == 19
struct backward {
  friend constexpr bool operator==(backward const&, backward const&) = default;
};
template <class Visit>
constexpr void describe(backward const&, int, Visit&&) {}
template <int D, backward P>
struct backward_layer {
  static constexpr continuation continues = continuation::none;
  template <class Exec, class W, class See, class T = typename Exec::value_type>
  static void forward(Exec&, W const&, layer_settings const&, sequences<T> const&,
                      matrix_view<std::type_identity_t<T> const>,
                      matrix_view<std::type_identity_t<T>>, See&&) {}
};
template <>
struct plait::layer_of<backward> {
  template <int D, backward P>
  using bind = backward_layer<D, P>;
};
inline constexpr hybrid<none, backward, none, none> encoder{
    .d_model = 16, .vocab_size = 9, .layers = {.layers_per_block = 1, .recur = 1}};
template class plait::session<plait::model<encoder>>;  // 19: plait: a session is many calls
#elif CASE == 20
inline constexpr hybrid<none, mamba, none, none> fine{
    .d_model = 16, .vocab_size = 9, .layers = {.blocks = 1, .layers_per_block = 3, .recur = 1}};
void f(session<plait::model<fine>>& s) {
  s.generate({}, {}, [](std::int32_t id) { return id; });
}  // 20: plait: the callback of generate returns bool
#elif CASE == 16 || CASE == 17  // a device, whatever runs its kernels
struct nothing {
  using memory = host_memory;
  using kept = int;
};
#if CASE == 16
exec::device<precision{.kv = dtype::bf16}, nothing>
    half_of_it;  // 16: plait: on a device f32 weights have f32 experts and f32 keys and values
#else
exec::device<with_compute(int8, dtype::int8), nothing>
    dots;  // 17: plait: on a device the products' arithmetic follows from the weights
#endif
#elif CASE == 19  // kernels that no device takes
template <int Threads, int SharedBytes, int ArgumentBytes>
struct kernel {
  struct args {
    char bytes[ArgumentBytes];
  };
  static constexpr int threads = Threads;
  template <class>
  struct shared {
    char bytes[SharedBytes];
  };
  template <class Block>
  static void run(Block const&, shared<Block>&, args const&) {}
};
void f(emulator::runtime& r) {
  r.launch<kernel<48, 1, 1>>({}, {});  // 19: plait: a block is whole warps of 32 threads
  r.launch<kernel<64, 49 * 1024, 1>>(
      {}, {});                            // 19: plait: a kernel has at most 48 KiB of shared memory
  r.launch<kernel<64, 1, 4097>>({}, {});  // 19: plait: a kernel's arguments have at most 4096 bytes
}
#endif
int main() {}
