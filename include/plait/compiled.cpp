// The library plait::compiled: the CPU's ops for every precision, compiled once. Without CMake,
// compile this file with the flags of the files that use it, and those files with -DPLAIT_COMPILED.
// Another instruction set or OpenMP in one of them is an error of the linker, which names the
// inline namespace of the expected flags (PLAIT_ABI, core/namespace.hpp).
#define PLAIT_COMPILING
#include <plait/model/compiled.hpp>
#include <plait/ops/attention/paged_attention_cpu.hpp>
#include <plait/ops/attention/rope_cpu.hpp>
#include <plait/ops/linear/gated_linear_cpu.hpp>
#include <plait/ops/linear/linear_cpu.hpp>
#include <plait/ops/norm/add_norm_cpu.hpp>
#include <plait/ops/norm/add_residual_cpu.hpp>
#include <plait/ops/routing/experts_cpu.hpp>
#include <plait/ops/routing/route_cpu.hpp>
#include <plait/ops/selective_scan/selective_scan_cpu.hpp>
#include <plait/ops/short_conv/conv_silu_cpu.hpp>

PLAIT_NAMESPACE_BEGIN
namespace ops {

template struct paged_attention_cpu<float>;
template struct paged_attention_cpu<bf16_t>;

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

}  // namespace ops
PLAIT_NAMESPACE_END
