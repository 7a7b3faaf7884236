// plait on the emulator: layers and models for exec::emulated, the kernels of a device on the CPU.
// With <plait/plait.hpp> beside it, in one file or in others, for exec::cpu too.
#pragma once

#include <plait/emulator/exec.hpp>
#include <plait/layers/attention.hpp>
#include <plait/layers/mamba.hpp>
#include <plait/layers/mlp.hpp>
#include <plait/layers/moe.hpp>
#include <plait/layers/norm.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/initialize.hpp>
#include <plait/model/model.hpp>
#include <plait/model/sample.hpp>
#include <plait/model/single_layer.hpp>
#include <plait/models/jamba.hpp>
#include <plait/models/mixtral.hpp>
#include <plait/ops/cuda/add_norm.hpp>
#include <plait/ops/cuda/add_residual.hpp>
#include <plait/ops/cuda/attend.hpp>
#include <plait/ops/cuda/conv_silu.hpp>
#include <plait/ops/cuda/embed.hpp>
#include <plait/ops/cuda/experts.hpp>
#include <plait/ops/cuda/gate.hpp>
#include <plait/ops/cuda/gated_linear.hpp>
#include <plait/ops/cuda/gather_rows.hpp>
#include <plait/ops/cuda/linear.hpp>
#include <plait/ops/cuda/linear_conv.hpp>
#include <plait/ops/cuda/rotate.hpp>
#include <plait/ops/cuda/route.hpp>
#include <plait/ops/cuda/sample.hpp>
#include <plait/ops/cuda/selective_scan.hpp>
#include <plait/ops/cuda/selective_ssm.hpp>
#include <plait/policy.hpp>
#include <plait/version.hpp>
