// Policies, configurations and counts in one include: the standard library only. nvcc compiles it
// too.
// Test: tests/headers/alone.sh, tests/headers/nvcc.sh, tests/headers/direction.sh
#pragma once

#include <plait/policy/attention.hpp>
#include <plait/policy/check.hpp>
#include <plait/policy/configs/jamba.hpp>
#include <plait/policy/configs/mixtral.hpp>
#include <plait/policy/count.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/interleave.hpp>
#include <plait/policy/mamba.hpp>
#include <plait/policy/mlp.hpp>
#include <plait/policy/moe.hpp>
#include <plait/policy/none.hpp>
#include <plait/policy/norm.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>
