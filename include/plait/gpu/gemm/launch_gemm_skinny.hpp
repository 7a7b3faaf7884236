// Launch of gemm_skinny: rows in groups, and the warps of a block split between columns and weight
// rows so that the device is busy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/gather_rows.hpp>
#include <plait/gpu/gemm/gemm_skinny.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Largest number of rows for which gemm_skinny is faster than the library. Beyond 64 it reads the
/// weights once per 64 rows; with int8, up to 256 rows, that costs less than dequantizing them.
template <dtype Stored>
inline constexpr std::int64_t max_skinny_rows = Stored == dtype::int8 ? 256 : 64;

/// x with rows aligned and padded for gemm_skinny: x itself, or a copy in the workspace where it is
/// not aligned. Takes memory for the copy in either case.
template <class Exec>
matrix_view<bf16_t const> aligned_rows(Exec& exec, matrix_view<bf16_t const> x) {
  auto const y = exec.template matrix<bf16_t>(x.rows(), (x.cols() + 7) / 8 * 8);
  if (kernels::rows_of<bf16_t const>(x).aligned && x.cols() % 8 == 0) return x;
  exec.template launch<kernels::gather_rows<bf16_t>>({.x = x.rows()},
                                                     {x, nullptr, y, x.cols(), y.cols()});
  return {y.data(), x.rows(), x.cols(), y.stride()};
}

namespace detail {

/// Number of a block's warps that split the columns. The others take other rows of the weights, and
/// share x in the L1 cache.
template <class Kernel, dtype Stored>
int k_warps_for(kernels::gemm_skinny_args<Stored> const& args, std::int64_t rows,
                std::int64_t multiprocessor_count) {
  std::int64_t parts = 0;  // of the weights, one per warp
  for (int i = 0; i < args.count; ++i)
    parts += (args.outputs[i].weight.row_tiles() + Kernel::row_tiles - 1) / Kernel::row_tiles;
  parts *= args.groups;
  std::int64_t const k_blocks = args.outputs[0].weight.col_tiles();
  int k_warps = Kernel::warps;
  // Few columns: more columns per warp rather than more warps than run at the same time.
  while (k_warps > 1 && k_warps * Kernel::depth > k_blocks &&
         parts * k_warps > 2 * Kernel::warps * multiprocessor_count)
    k_warps /= 2;
  // A block reads x once from the L2 cache: at most half as many bytes as of the weights, as long
  // as there are enough blocks.
  std::int64_t const weight_bytes = 16 * Kernel::sets * (Stored == dtype::int8 ? 1 : 2);
  while (k_warps > 1 && rows * 4 > weight_bytes * (Kernel::warps / k_warps) &&
         parts * k_warps >= 4 * Kernel::warps * multiprocessor_count)
    k_warps /= 2;
  return k_warps;
}

template <dtype Stored, int Tiles, bool Gated, class Exec>
void launch_gemm_skinny(Exec& exec, kernels::gemm_skinny_args<Stored> args, std::int64_t expected) {
  using kernel = kernels::gemm_skinny<Stored, Tiles, Gated>;
  std::int64_t const size = kernel::rows_per_group;
  if (args.experts > 0) {
    // The largest number of groups: as many experts as possible have a row.
    std::int64_t const rows = args.end - args.begin;
    std::int64_t const taken = std::min(rows, args.experts);
    args.groups = taken + (rows - taken) / size;
  } else {
    args.groups = (args.rows + size - 1) / size;
  }
  args.k_warps =
      k_warps_for<kernel>(args, std::min(expected, size), exec.runtime.multiprocessor_count());
  std::int64_t blocks = 0;
  for (int i = 0; i < args.count; ++i) {
    std::int64_t const tiles = kernel::warps / args.k_warps * kernel::row_tiles;
    args.outputs[i].first_block = blocks;
    blocks += (args.outputs[i].weight.row_tiles() + tiles - 1) / tiles;
  }
  exec.template launch<kernel>({.x = blocks * args.groups}, args);
}

}  // namespace detail

/// Launches kernels::gemm_skinny. `expected` is the number of rows, or with `first` about that of
/// each expert: it chooses the number of rows that share each load of weights. The caller sets all
/// of args but groups, k_warps and first_block.
///
/// Shapes: up to `max_skinny_rows` rows; x as `aligned_rows` returns it
/// Cost: a copy of x where it is not aligned
/// Test: tests/unit/ops/linear/linear_gpu_test.cpp
template <dtype Stored, bool Gated, class Exec>
void launch_gemm_skinny(Exec& exec, kernels::gemm_skinny_args<Stored> const& args,
                        std::int64_t expected) {
  if (expected <= 8)
    detail::launch_gemm_skinny<Stored, 1, Gated>(exec, args, expected);
  else if (expected <= 16)
    detail::launch_gemm_skinny<Stored, 2, Gated>(exec, args, expected);
  else if (expected <= 32)
    detail::launch_gemm_skinny<Stored, 4, Gated>(exec, args, expected);
  else
    detail::launch_gemm_skinny<Stored, 8, Gated>(exec, args, expected);
}

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
