// Everything else that is refused when compiled. The numbered comments are as in rules.cpp.
#include <plait/plait.hpp>

#include <Eigen/Core>

using namespace plait;

#if CASE == 0
inline constexpr hybrid<none, mamba, none, none> fine{.d_model = 16, .vocab_size = 9, .layers = {.blocks = 1, .layers_per_block = 3, .recur = 1}};
template class plait::model<fine>;
#elif CASE == 1  // a layer of nothing
inline constexpr hybrid<attention, none, mlp, none> gap{.d_model = 16, .vocab_size = 9, .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1},
                                                        .attention = {.num_heads = 2, .num_kv_heads = 2}};
inline constexpr hybrid<attention, none, none, none> empty{.d_model = 16, .vocab_size = 9, .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1},
                                                           .attention = {.num_heads = 2, .num_kv_heads = 2}};
template class plait::model<empty>;  // 1: plait: every layer needs a mixer or a feed-forward
#elif CASE == 2
inline constexpr auto unbased = [] { auto c = configs::mixtral_8x7b; c.rope_theta = 0; return c; }();
template class plait::model<unbased>;  // 2: plait: rotary positions need rope_theta
#elif CASE == 3
template class plait::model<configs::jamba_v0_1, exec::cpu<bf16>>;  // 3: plait: exec::cpu computes in f32 so far
#elif CASE == 4
void f(weights<mlp{.d_ff = 8}, 16, storage::packed>& w) { w.get<"gate">(); }  // 4: plait: this component has no tensor of that name
#elif CASE == 5
void g(matrix_view<float>);
void f(Eigen::MatrixXf& m) { g(m); }  // 5: plait: views are row-major
#elif CASE == 6
void g(matrix_view<float>);
void f(Eigen::Map<Eigen::Matrix<float, -1, -1, Eigen::RowMajor>, 0, Eigen::Stride<-1, 2>> m) { g(m); }  // 6: plait: the values of a row must lie side by side
#elif CASE == 7
struct mine { friend constexpr bool operator==(mine const&, mine const&) = default; };
layer<16, mine{}> l;  // 7: plait: no layer is bound to this policy
#elif CASE == 8
struct nowhere : exec::host { using value_type = float; nowhere() : host(1) {} };
void f(nowhere& e) { ops::route(e, {}, {}, gate_weights::as_they_are); }  // 8: plait: route has no implementation for this execution policy
#endif
int main() {}
