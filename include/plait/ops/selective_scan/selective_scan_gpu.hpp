// selective_scan on a device: the choice among three kernels. Tiles (gpu/scan_tiles.hpp) of
// channels, blocks (gpu/scan_blocks.hpp) of tokens, or a step (gpu/scan_step.hpp) of one token per
// sequence.
// Equation: of 16 successive states lane l adds 4 l to 4 l + 3; lanes are added as (0 + 2) + (1 +
//   3), then runs of 16, 32 or 64 states (the least that holds N, or 64). Tiles and steps do the
//   same, so that any split of a sequence into calls gives the same bits; blocks compose maps
//   (gpu/affine.hpp) in another order, and their results differ by roundings
// Shapes: any N, any number of channels and tokens. Blocks where tiles would leave a quarter of the
//   multiprocessors or more idle, from 256 tokens on, for N up to 256
// Source: Gu and Dao, arXiv:2312.00752
// Test: tests/unit/ops/selective_scan/selective_scan_gpu_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/device.hpp>
#include <plait/ops/selective_scan/gpu/scan_blocks.hpp>
#include <plait/ops/selective_scan/gpu/scan_step.hpp>
#include <plait/ops/selective_scan/gpu/scan_tiles.hpp>
#include <plait/ops/selective_scan/selective_scan.hpp>

#include <algorithm>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// The kernels of a scan. Tiles and steps give the same bits, blocks other roundings.
enum class scan_form {
  tiles,   ///< 32 channels per block, one token after the other
  blocks,  ///< 4 channels per block, scanned over the tokens
  step,    ///< one token per sequence
};

/// The kernel for a call. Two or three tiles per multiprocessor keep the device busy, one leaves
/// none idle. A scan over tokens has twice the arithmetic, so that it is used below 3/4 tile per
/// multiprocessor; and it needs 256 tokens, as it takes 512 at a time.
constexpr scan_form scan_form_of(std::int64_t channels, std::int64_t states, std::int64_t sequences,
                                 std::int64_t longest, int multiprocessor_count) {
  if (longest <= 1) return scan_form::step;
  std::int64_t const tiles = (channels + 31) / 32 * sequences;
  bool const few = 4 * tiles < 3 * std::int64_t{multiprocessor_count} && longest >= 256;
  return few && states <= kernels::selective_scan_blocks<float>::max_states ? scan_form::blocks
                                                                            : scan_form::tiles;
}

template <precision P, class Runtime>
struct selective_scan_op<exec::device<P, Runtime>> {
  using device = exec::device<P, Runtime>;
  using T = typename device::value_type;

  template <class Memory>
  static void run(device& exec, sequences<T> const& seqs, scan_input<T> const& in,
                  device_state<Memory> const& a_log, device_vector<Memory> const& d,
                  matrix_view<T> y) {
    run_as(scan_form_of(a_log.rows(), a_log.cols(), seqs.count, seqs.longest,
                        exec.runtime.multiprocessor_count()),
           exec, seqs, in, a_log, d, y);
  }

  /// By a given kernel: steps only where no sequence has more than one token, blocks only for up to
  /// max_states states.
  template <class Memory>
  static void run_as(scan_form form, device& exec, sequences<T> const& seqs,
                     scan_input<T> const& in, device_state<Memory> const& a_log,
                     device_vector<Memory> const& d, matrix_view<T> y) {
    kernels::scan_args<T> const args{
        seqs, in.u,         in.z,        in.dt, in.B, in.C, a_log.device_view(), d.device_view(),
        y,    a_log.rows(), a_log.cols()};
    if (form == scan_form::blocks)
      return launch<kernels::selective_scan_blocks<T>>(
          exec, args, kernels::selective_scan_blocks<T>::channels, seqs.count);
    if (form == scan_form::step) {
      using kernel = kernels::selective_scan_step<T>;
      // No more blocks than the multiprocessors hold at a time: further sequences follow in the
      // same block, so that A is read less often.
      std::int64_t const blocks_per_sequence =
          (args.channels + kernel::threads - 1) / kernel::threads;
      std::int64_t const max_sequences = std::max<std::int64_t>(
          1, blocks_per_multiprocessor * exec.runtime.multiprocessor_count() /
                 std::max<std::int64_t>(1, blocks_per_sequence));
      return launch<kernel>(exec, args, kernel::threads, std::min(seqs.count, max_sequences));
    }
    switch (kernels::scan_run(args.states)) {
      case 16:
        return tiles<4>(exec, args);
      case 32:
        return tiles<8>(exec, args);
      default:
        return tiles<16>(exec, args);
    }
  }

 private:
  /// Of steps, with 128 threads each: as many as a multiprocessor holds.
  static constexpr std::int64_t blocks_per_multiprocessor = 16;

  template <int States>
  static void tiles(device& exec, kernels::scan_args<T> const& args) {
    using kernel = kernels::selective_scan_tiles<T, States>;
    launch<kernel>(exec, args, kernel::channels, args.seqs.count);
  }
  template <class Kernel>
  static void launch(device& exec, kernels::scan_args<T> const& args, std::int64_t channels,
                     std::int64_t rows_of_blocks) {
    exec.template launch<Kernel>({.x = (args.channels + channels - 1) / channels,
                                  .y = std::min<std::int64_t>(rows_of_blocks, 65535)},
                                 args);
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
