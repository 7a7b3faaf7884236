// Mixtral-8x7B as a type.
#pragma once

#include <plait/layers/attention.hpp>
#include <plait/layers/moe.hpp>
#include <plait/model/model.hpp>
#include <plait/policy/configs/mixtral.hpp>

namespace plait::inline PLAIT_ABI {

/// To be named, not yet to be run: rotary positions and renormalised routing are refused until they have a golden result.
template <class Execution = exec::cpu<>>
using mixtral_8x7b = model<configs::mixtral_8x7b, Execution>;

}  // namespace plait::inline PLAIT_ABI
