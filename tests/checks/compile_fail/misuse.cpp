// Every other refusal of the compiler. CASE and the numbered comments are those of rules.cpp.
#if CASE == 9
// 9: plait: -ffast-math
#define __FAST_MATH__ 1
#endif
#if CASE == 18
// 18: plait: the emulator finds races with clang++
#define __SANITIZE_THREAD__ 1
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

/// Layers of Mamba alone, with a vocabulary of this size.
constexpr auto mamba_layers(int vocab_size) {
  return hybrid<none, mamba, none, none>{
      .d_model = 16, .vocab_size = vocab_size, .layers = {.layers_per_block = 3, .recur = 1}};
}
inline constexpr auto with_head = mamba_layers(9);
inline constexpr auto without_head = mamba_layers(no_vocabulary);

/// A mixer whose layer states its continuation in case 21 alone.
struct custom {
  friend constexpr bool operator==(custom const&, custom const&) = default;
};
template <class Visit>
constexpr void describe(custom const&, int, Visit&&) {}
template <int D, custom P>
struct custom_layer {
#if CASE == 21
  static constexpr continuation continues = continuation::none;
#endif
  template <class Exec, class W, class See, class T = typename Exec::value_type>
  static void forward(Exec&, W const&, layer_settings const&, sequences<T> const&,
                      matrix_view<std::type_identity_t<T> const>,
                      matrix_view<std::type_identity_t<T>>, See&&) {}
};
template <>
struct plait::layer_of<custom> {
  template <int D, custom P>
  using bind = custom_layer<D, P>;
};
inline constexpr hybrid<none, custom, none, none> custom_layers{
    .d_model = 16, .vocab_size = 9, .layers = {.layers_per_block = 1, .recur = 1}};

#if CASE == 0
// 0: compiles
template class plait::model<with_head>;
template class plait::session<plait::model<with_head>>;
#elif CASE == 1  // a layer without a sublayer
inline constexpr hybrid<attention, none, none, none> empty{
    .d_model = 16,
    .vocab_size = 9,
    .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1},
    .attention = {.num_heads = 2, .num_kv_heads = 2}};
// 1: plait: every layer needs a mixer or a feed-forward
template class plait::model<empty>;
#elif CASE == 2
inline constexpr auto without_base = [] {
  auto c = configs::mixtral_8x7b;
  c.rope_theta = 0;
  return c;
}();
// 2: plait: rotary positions need rope_theta
template class plait::model<without_base>;
#elif CASE == 3
// 3: plait: keys and values are kept as f32 or bf16, not int8
void f(exec::cpu<precision{.kv = dtype::int8}>& e) { e.threads(); }
#elif CASE == 4
// 4: plait: this component has no tensor of that name
void f(weights<mlp{.d_ff = 8}, 16, storage::packed<>>& w) { w.get<"gate">(); }
#elif CASE == 5
void g(matrix_view<float>);
// 5: plait: views are row-major
void f(Eigen::MatrixXf& m) { g(m); }
#elif CASE == 6
void g(matrix_view<float>);
using strided = Eigen::Map<Eigen::Matrix<float, -1, -1, Eigen::RowMajor>, 0, Eigen::Stride<-1, 2>>;
// 6: plait: the values of a row must be contiguous
void f(strided m) { g(m); }
#elif CASE == 7
struct unbound {
  friend constexpr bool operator==(unbound const&, unbound const&) = default;
};
// 7: plait: no layer is bound to this policy
layer<16, unbound{}> l;
#elif CASE == 8
struct nowhere : exec::host {
  using value_type = float;
  using output_type = float;
  nowhere() : host(1) {}
};
// 8: plait: route has no implementation for this execution policy
void f(nowhere& e) { ops::route(e, {}, {}, router_weights::as_they_are); }
#elif CASE == 10  // the class templates that the ops' functions look up
struct nowhere {
  using value_type = float;
};
// 10: plait: add_norm has no implementation for this execution policy
template struct plait::ops::add_norm_op<nowhere>;
// 10: plait: add_residual has no implementation for this execution policy
template struct plait::ops::add_residual_op<nowhere>;
// 10: plait: paged_attention has no implementation for this execution policy
template struct plait::ops::paged_attention_op<nowhere>;
// 10: plait: conv_silu has no implementation for this execution policy
template struct plait::ops::conv_silu_op<nowhere>;
// 10: plait: embed has no implementation for this execution policy
template struct plait::ops::embed_op<nowhere>;
// 10: plait: experts has no implementation for this execution policy
template struct plait::ops::experts_op<nowhere>;
// 10: plait: gated_linear has no implementation for this execution policy
template struct plait::ops::gated_linear_op<nowhere>;
// 10: plait: gather_rows has no implementation for this execution policy
template struct plait::ops::gather_rows_op<nowhere>;
// 10: plait: linear has no implementation for this execution policy
template struct plait::ops::linear_op<nowhere>;
// 10: plait: rope has no implementation for this execution policy
template struct plait::ops::rope_op<nowhere>;
// 10: plait: selective_scan has no implementation for this execution policy
template struct plait::ops::selective_scan_op<nowhere>;
#elif CASE == 11
// 11: plait: reference_model runs from ids to logits
template class plait::reference_model<without_head>;
#elif CASE == 12
// 12: plait: single_layer needs a layer whose forward is that of a mixer or of a feed-forward
plait::single_layer<16, rms_norm{}> l;
#elif CASE == 13
// 13: plait: a mixer declares its chunked-prefill guarantee
template class plait::model<custom_layers>;
#elif CASE == 14
struct no_layers {
  int d_model = 16, vocab_size = plait::no_vocabulary;
  rms_norm norm{};
  float norm_eps = 1e-6f;
  bool tie_embeddings = false;
  constexpr auto mixers() const { return std::tuple{none{}}; }
  constexpr auto ffns() const { return std::tuple{mlp{.d_ff = 8}}; }
  constexpr int num_layers() const { return 0; }
  constexpr int mixer_at(int) const { return 0; }
  constexpr int ffn_at(int) const { return 0; }
  friend constexpr bool operator==(no_layers const&, no_layers const&) = default;
};
// 14: plait: a model needs at least one layer
template class plait::model<no_layers{}>;
#elif CASE == 15
// 15: plait: hyperparameters visits integers, bools, floats and texts
auto const written = io::hyperparameter_value(positions::rotary);
#elif CASE == 16 || CASE == 17  // a device, with any runtime
struct nothing {
  using memory = host_memory;
  using captured = int;
};
#if CASE == 16
// 16: plait: on a device f32 weights have f32 experts and f32 keys and values
exec::device<precision{.kv = dtype::bf16}, nothing> mixed;
#else
// 17: plait: on a device the products' arithmetic follows from the weights
exec::device<with_compute(int8, dtype::int8), nothing> int8_products;
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
  // 19: plait: a block is whole warps of 32 threads
  r.launch<kernel<48, 1, 1>>({}, {});
  // 19: plait: a kernel has at most 48 KiB of shared memory
  r.launch<kernel<64, 49 * 1024, 1>>({}, {});
  // 19: plait: a kernel's arguments have at most 4096 bytes
  r.launch<kernel<64, 1, 4097>>({}, {});
}
#elif CASE == 20
// 20: plait: the callback of generate returns bool
void f(session<plait::model<with_head>>& s) {
  s.generate({}, {}, [](std::int32_t id) { return id; });
}
#elif CASE == 21
// 21: plait: a session is many calls
template class plait::session<plait::model<custom_layers>>;
#elif CASE == 22
// 22: plait: a session goes from token ids to logits
template class plait::session<plait::model<without_head>>;
#endif
int main() {}
