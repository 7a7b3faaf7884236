// Checkpoints are in plait/io.hpp, counts alone in plait/policy.hpp. Layers, models and the CPU in
// one include; not checkpoints. Needs Eigen 3.4.
//
// ```cpp
// #include <plait/plait.hpp>
// ```
//
// Cost: some seconds to compile, most of it Eigen
// Test: tests/headers/alone.sh, tests/headers/direction.sh
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
#include <plait/model/initialize.hpp>
#include <plait/model/model.hpp>
#include <plait/model/reference_model.hpp>
#include <plait/model/sample.hpp>
#include <plait/model/session.hpp>
#include <plait/model/share_layer.hpp>
#include <plait/model/single_layer.hpp>
#include <plait/models/jamba.hpp>
#include <plait/models/mixtral.hpp>
#include <plait/ops/cpu/add_residual.hpp>
#include <plait/ops/cpu/add_norm.hpp>
#include <plait/ops/cpu/attend.hpp>
#include <plait/ops/cpu/conv_silu.hpp>
#include <plait/ops/cpu/embed.hpp>
#include <plait/ops/cpu/experts.hpp>
#include <plait/ops/cpu/gated_linear.hpp>
#include <plait/ops/cpu/linear.hpp>
#include <plait/ops/cpu/rotate.hpp>
#include <plait/ops/cpu/route.hpp>
#include <plait/ops/cpu/selective_scan.hpp>
#include <plait/policy.hpp>
#include <plait/version.hpp>
