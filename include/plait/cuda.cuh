// plait on CUDA: layers and models for exec::cuda. With <plait/plait.hpp> beside it, in one file or in others, for exec::cpu too.
#pragma once

#include <plait/exec/cuda.cuh>
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
#include <plait/ops/cuda/embed.hpp>
#include <plait/ops/cuda/gather_rows.hpp>
#include <plait/ops/cuda/rotate.hpp>
#include <plait/policy.hpp>
#include <plait/version.hpp>
