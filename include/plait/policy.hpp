// Policies, configurations and counts in one include: the standard library alone, for nvcc, too.
// Test: tests/checks/headers/alone.sh, tests/checks/headers/nvcc.sh,
//   tests/checks/headers/direction.sh
#pragma once

#include <plait/models/jamba/config.hpp>
#include <plait/models/mixtral/config.hpp>
#include <plait/policy/attention.hpp>
#include <plait/policy/check.hpp>
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
