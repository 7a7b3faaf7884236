// Layers, models and exec::cuda in one include, for nvcc; include <plait/plait.hpp> too for
// exec::cpu. Needs the CUDA toolkit 13 and cuBLASLt.
// Cost: some ten seconds to compile, and half a minute per architecture with a model in the file
// Test: tests/unit/cuda/launch_test.cu, tests/checks/headers/nvcc.sh
#pragma once

#include <plait/cuda/exec.cuh>
#include <plait/layers/attention.hpp>
#include <plait/layers/mamba.hpp>
#include <plait/layers/mlp.hpp>
#include <plait/layers/moe.hpp>
#include <plait/layers/norm.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>
#include <plait/model/initialize.hpp>
#include <plait/model/model.hpp>
#include <plait/model/sample.hpp>
#include <plait/model/session.hpp>
#include <plait/model/single_layer.hpp>
#include <plait/models/jamba/jamba.hpp>
#include <plait/models/mixtral/mixtral.hpp>
#include <plait/ops/attention/paged_attention_gpu.hpp>
#include <plait/ops/attention/rope_gpu.hpp>
#include <plait/ops/linear/gated_linear_gpu.hpp>
#include <plait/ops/linear/linear_gpu.hpp>
#include <plait/ops/norm/add_norm_gpu.hpp>
#include <plait/ops/norm/add_residual_gpu.hpp>
#include <plait/ops/norm/inner_norms_gpu.hpp>
#include <plait/ops/routing/experts_gpu.hpp>
#include <plait/ops/routing/route_gpu.hpp>
#include <plait/ops/routing/route_with.hpp>
#include <plait/ops/routing/router_gpu.hpp>
#include <plait/ops/rows/embed_gpu.hpp>
#include <plait/ops/rows/gather_rows_gpu.hpp>
#include <plait/ops/sampling/sample_gpu.hpp>
#include <plait/ops/selective_scan/selective_scan_gpu.hpp>
#include <plait/ops/selective_scan/selective_ssm_gpu.hpp>
#include <plait/ops/short_conv/conv_silu_gpu.hpp>
#include <plait/ops/short_conv/linear_conv_gpu.hpp>
#include <plait/policy.hpp>
#include <plait/version.hpp>
