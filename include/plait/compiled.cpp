// The library plait::compiled: the CPU's ops for every precision, compiled once. Without CMake: compile this file with the same flags as
// the files that use it, and those with -DPLAIT_COMPILED. Another instruction set or OpenMP in one of them is an error of the linker,
// which names the inline namespace of the flags that were expected (PLAIT_ABI, core/macros.hpp).
#define PLAIT_COMPILING
#include <plait/ops/cpu/add_norm.hpp>
#include <plait/ops/cpu/add_residual.hpp>
#include <plait/ops/cpu/attend.hpp>
#include <plait/ops/cpu/conv_silu.hpp>
#include <plait/ops/cpu/experts.hpp>
#include <plait/ops/cpu/gated_linear.hpp>
#include <plait/ops/cpu/linear.hpp>
#include <plait/ops/cpu/rotate.hpp>
#include <plait/ops/cpu/route.hpp>
#include <plait/ops/cpu/selective_scan.hpp>

namespace plait::inline PLAIT_ABI::ops {

template struct attend_cpu<float>;
template struct attend_cpu<bf16_t>;

// Every activation_type of every type of weight.
template struct linear_cpu<dtype::f32, dtype::f32>;
template struct linear_cpu<dtype::bf16, dtype::f32>;
template struct linear_cpu<dtype::bf16, dtype::bf16>;
template struct linear_cpu<dtype::int8, dtype::f32>;
template struct linear_cpu<dtype::int8, dtype::int8>;
template struct gated_linear_cpu<dtype::f32, dtype::f32>;
template struct gated_linear_cpu<dtype::bf16, dtype::f32>;
template struct gated_linear_cpu<dtype::bf16, dtype::bf16>;
template struct gated_linear_cpu<dtype::int8, dtype::f32>;
template struct gated_linear_cpu<dtype::int8, dtype::int8>;
template struct experts_cpu<dtype::f32, dtype::f32>;
template struct experts_cpu<dtype::bf16, dtype::f32>;
template struct experts_cpu<dtype::bf16, dtype::bf16>;
template struct experts_cpu<dtype::int8, dtype::f32>;
template struct experts_cpu<dtype::int8, dtype::int8>;

}  // namespace plait::inline PLAIT_ABI::ops
