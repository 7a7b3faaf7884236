// gemm_skinny.hpp launched: rows in groups, as many of a block's warps on the columns of a row as
// keep
// the device busy, the others on other rows of the weights.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/sequences.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_storage.hpp>
#include <plait/gpu/gather_rows.hpp>
#include <plait/gpu/gemm/gemm_skinny.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <cstdint>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Up to how many rows gemm_skinny is the way to multiply. Beyond 64 it reads the weights again for
/// every 64 rows; of int8 that costs less, for a while, than writing them as bf16 and reading
/// those.
template <dtype Stored>
inline constexpr std::int64_t max_skinny_rows = Stored == dtype::int8 ? 256 : 64;

/// x as gemm_skinny wants it. Takes memory for a copy, which is used where it is needed.
template <class Exec>
matrix_view<bf16_t const> aligned_rows(Exec& exec, matrix_view<bf16_t const> x) {
  auto const y = exec.template matrix<bf16_t>(x.rows(), (x.cols() + 7) / 8 * 8);
  if (kernels::rows_of<bf16_t const>(x).aligned && x.cols() % 8 == 0) return x;
  exec.template launch<kernels::gather_rows<bf16_t>>({.x = x.rows()},
                                                     {x, nullptr, y, x.cols(), y.cols()});
  return {y.data(), x.rows(), x.cols(), y.stride()};
}

namespace detail {

/// How many of a block's warps share the columns; the others take other rows of the weights, and
/// share what the L1 cache has of x.
template <class Kernel, dtype Stored>
int columns_shared(kernels::gemm_skinny_args<Stored> const& args, std::int64_t rows,
                   std::int64_t multiprocessor_count) {
  std::int64_t parts = 0;  // of the weights, a warp each
  for (int i = 0; i < args.count; ++i)
    parts += (args.outputs[i].weight.row_tiles() + Kernel::row_tiles - 1) / Kernel::row_tiles;
  parts *= args.groups;
  std::int64_t const k_blocks = args.outputs[0].weight.col_tiles();
  int shared = Kernel::warps;
  // Few columns: rather more of them a warp than more warps than run at once.
  while (shared > 1 && shared * Kernel::depth > k_blocks &&
         parts * shared > 2 * Kernel::warps * multiprocessor_count)
    shared /= 2;
  // x comes from the L2 cache once a block: let that be at most half of what the block reads of the
  // weights, while there are blocks enough.
  std::int64_t const weight_bytes = 16 * Kernel::sets * (Stored == dtype::int8 ? 1 : 2);
  while (shared > 1 && rows * 4 > weight_bytes * (Kernel::warps / shared) &&
         parts * shared >= 4 * Kernel::warps * multiprocessor_count)
    shared /= 2;
  return shared;
}

template <dtype Stored, int Tiles, bool Gated, class Exec>
void launch_gemm_skinny(Exec& exec, kernels::gemm_skinny_args<Stored> args, std::int64_t expected) {
  using kernel = kernels::gemm_skinny<Stored, Tiles, Gated>;
  std::int64_t const size = kernel::rows_per_group;
  if (args.experts > 0) {
    std::int64_t const rows = args.end - args.begin, taken = std::min(rows, args.experts);
    args.groups = taken + (rows - taken) / size;  // most when as many experts as can be have a row
  } else {
    args.groups = (args.rows + size - 1) / size;
  }
  args.k_warps =
      columns_shared<kernel>(args, std::min(expected, size), exec.runtime.multiprocessor_count());
  std::int64_t blocks = 0;
  for (int i = 0; i < args.count; ++i) {
    std::int64_t const tiles = kernel::warps / args.k_warps * kernel::row_tiles;
    args.outputs[i].first_block = blocks;
    blocks += (args.outputs[i].weight.row_tiles() + tiles - 1) / tiles;
  }
  exec.template launch<kernel>({.x = blocks * args.groups}, args);
}

}  // namespace detail

/// Launches gemm_skinny. `expected` rows, or of each expert about so many, say how many share what
/// is
/// read of the weights. args say everything but groups, k_warps and where the outputs' blocks
/// begin.
/// Shapes: up to `max_skinny_rows` rows gemm_skinny is the way; `aligned_rows` makes x stand as it
/// must
/// Cost: a copy of x where it does not stand so
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
