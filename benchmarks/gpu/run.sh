#!/usr/bin/env bash
# On a machine with a GPU: compiles for it, runs the tests that need one, times in order of value, and last runs the tests under
# compute-sanitizer where that is installed. It needs nvcc, g++ and cuBLAS, and for the tests doctest; no CMake. Every part is a process of its
# own, with a limit, so that one that fails takes no other with it.
#   run.sh [BUILD_DIR [PART...]]      parts: build tests copy scan experts decode_1 decode_64 state decode_attention convolution norms prefill_8k
#                                     request prefill_attention prefill_128k kv throughput sanitizer; all of them, in this order, where none is named
# DOCTEST names the directory that has doctest/doctest.h, if it is not the compiler's. CUDNN_FRONTEND names the one that has cudnn_frontend.h, if
# attention by cuDNN is wanted.
set -u
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$source/build-gpu}; [ $# -gt 0 ] && shift
parts=${*:-build tests copy scan experts decode_1 decode_64 state decode_attention convolution norms prefill_8k request prefill_attention prefill_128k kv throughput sanitizer}
export PATH=$PATH:/usr/local/cuda/bin PLAIT_REQUIRE_GPU=1
tests='ops/cuda/pointwise ops/cuda/route ops/cuda/sample ops/cuda/linear ops/cuda/gated_linear ops/cuda/experts ops/cuda/conv_silu ops/cuda/selective_scan ops/cuda/selective_ssm ops/cuda/attend model/device'
mkdir -p "$build"
status=0
failed() { echo "FAILED: $*"; status=1; }
# part SECONDS LINES COMMAND...: the last lines of its output, or why there is none.
part() {
  local limit=$1 lines=$2; shift 2
  timeout "$limit" "$@" >"$build/output" 2>&1
  local code=$?
  tail -n "$lines" "$build/output"
  [ $code -eq 0 ] || failed "$* ($code)"
}
each_test() {
  local title=$1; shift
  for t in $tests; do
    local program=$build/test.${t//\//.}
    [ -x "$program" ] && { echo "-- ${t#ops/cuda/}$title"; "$@" "$program"; }
  done
}
plain() { part 300 12 "$1"; }
checked() { part 300 6 compute-sanitizer --tool memcheck --error-exitcode 9 "$1"; }

echo "date: $(date -u +%F), commit: $(git -C "$source" rev-parse --short HEAD 2>/dev/null || echo none), command: run.sh $parts"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi'
nvcc --version 2>/dev/null | tail -2 | head -1
for p in $parts; do
  printf '\n== %s (after %d s) ==\n' "$p" "$SECONDS"
  case $p in
    build)
      # The device that is here; where nothing says which, Hopper.
      capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
      compile="nvcc -std=c++20 -O3 --expt-relaxed-constexpr -arch=sm_${capability:-90} -I$source/include -I$source/tests ${DOCTEST:+-I$DOCTEST} -lcublasLt"
      [ -e "${CUDNN_FRONTEND:-}/cudnn_frontend.h" ] && compile+=" -DPLAIT_CUDNN -isystem $CUDNN_FRONTEND -ldl"
      rm -f "$build"/gpu_* "$build"/test.*
      {
        echo "$compile $source/benchmarks/gpu/ops.cu -o $build/gpu_ops"
        echo "$compile $source/benchmarks/gpu/models.cu -o $build/gpu_models"
        if echo '#include <doctest/doctest.h>' | g++ ${DOCTEST:+-I"$DOCTEST"} -x c++ -fsyntax-only - 2>/dev/null; then
          for t in $tests; do echo "$compile -x cu $source/tests/${t}_test.cpp $source/tests/cuda/gpu_main.cu -o $build/test.${t//\//.}"; done
        else
          echo 'no doctest: the tests are left out (DOCTEST names its directory)' >&2
        fi
      } >"$build/commands"
      xargs -d '\n' -P "$(nproc)" -I{} bash -c '{} 2>&1 || echo "FAILED: {}"' <"$build/commands" | head -40
      [ "$(ls "$build"/gpu_* "$build"/test.* 2>/dev/null | wc -l)" -eq "$(wc -l <"$build/commands")" ] || failed 'not all was built'
      ;;
    tests) each_test '' plain ;;
    sanitizer) if command -v compute-sanitizer >/dev/null; then each_test ', memcheck' checked; else echo 'compute-sanitizer is not installed'; fi ;;
    decode_1 | decode_64 | request | prefill_8k | prefill_128k | kv | throughput) part 300 40 "$build/gpu_models" "$p" ;;
    *) part 180 40 "$build/gpu_ops" "$p" ;;
  esac
done
printf '\nin all %d s\n' "$SECONDS"
exit $status
