// Split-K attention: the sums of one split of the keys, and how pages are divided into splits.
// Test: tests/unit/ops/attention/paged_attention_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/macros.hpp>

#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace kernels {

/// Online-softmax sums over the splits of the keys, of every row and query head: the weighted sum
/// of values [row][head][split][dim]; the maximum score and the sum of weights [row][head][split].
/// A split without keys has a sum of weights of 0 and no other defined value. Null pointers: one
/// split, which writes the output.
struct attention_parts {
  float* sum = nullptr;
  float* maximum = nullptr;
  float* total = nullptr;
};

/// The division of n items into splits: `per_split` items for each of the first `used` splits,
/// fewer for the last of these, none for the others. At least one split is used.
struct split_sizes {
  std::uint32_t per_split, used;
  PLAIT_HD split_sizes(std::int64_t items, std::int64_t splits) {
    // Unsigned 32-bit division takes a few instructions.
    auto const n = static_cast<std::uint32_t>(items);
    auto const by = static_cast<std::uint32_t>(splits);
    per_split = n > by ? (n + by - 1) / by : 1;
    used = n > 0 ? (n + per_split - 1) / per_split : 1;
  }
};

}  // namespace kernels
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
