// Layers, models and exec::cpu in one include, which needs Eigen 3.4 or 5. plait/io.hpp has
// checkpoints; plait/policy.hpp has the configurations and counts without Eigen.
//
// ```cpp
// #include <plait/plait.hpp>
// ```
//
// Cost: seconds to compile, most of them for Eigen
// Test: tests/checks/headers/alone.sh, tests/checks/headers/direction.sh
#pragma once

#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/layers/attention.hpp>
#include <plait/layers/mamba.hpp>
#include <plait/layers/mlp.hpp>
#include <plait/layers/moe.hpp>
#include <plait/layers/norm.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>
#include <plait/model/compiled.hpp>
#include <plait/model/initialize.hpp>
#include <plait/model/model.hpp>
#include <plait/model/reference_model.hpp>
#include <plait/model/sample.hpp>
#include <plait/model/session.hpp>
#include <plait/model/share_layer.hpp>
#include <plait/model/single_layer.hpp>
#include <plait/model/snapshot.hpp>
#include <plait/models/jamba/jamba.hpp>
#include <plait/models/mixtral/mixtral.hpp>
#include <plait/ops/attention/paged_attention_cpu.hpp>
#include <plait/ops/attention/rope_cpu.hpp>
#include <plait/ops/linear/gated_linear_cpu.hpp>
#include <plait/ops/linear/linear_cpu.hpp>
#include <plait/ops/norm/add_norm_cpu.hpp>
#include <plait/ops/norm/add_residual_cpu.hpp>
#include <plait/ops/routing/experts_cpu.hpp>
#include <plait/ops/routing/route_cpu.hpp>
#include <plait/ops/routing/route_with.hpp>
#include <plait/ops/rows/embed_cpu.hpp>
#include <plait/ops/selective_scan/selective_scan_cpu.hpp>
#include <plait/ops/short_conv/conv_silu_cpu.hpp>
#include <plait/policy.hpp>
#include <plait/version.hpp>
