// All ops of devices, for whole models on one; nothing of CUDA.
#pragma once

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
#include <plait/ops/cuda/selective_scan.hpp>
#include <plait/ops/cuda/selective_ssm.hpp>
