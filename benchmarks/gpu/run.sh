#!/usr/bin/env bash
# On a machine with a GPU: compiles for it, runs the tests that need one, times in order of value, and last runs the tests under
# compute-sanitizer where that is installed. It needs nvcc, g++ and cuBLAS, and for the tests doctest; no CMake. Every part is a process of its
# own, with a limit, so that one that fails takes no other with it. The golden checkpoint is tested where nlohmann-json and CLI11 are found, too.
#   run.sh [BUILD_DIR [PART...]]      parts: build tests copy scan experts decode_1 decode_64 state decode_attention convolution norms prefill_8k
#                                     request prefill_attention prefill_128k kv throughput ratios sanitizer; all of them, in this order, where none is named
# DOCTEST names the directory that has doctest/doctest.h, if it is not the compiler's; CUDNN_FRONTEND the one that has
# cudnn_frontend.h, if attention by cuDNN is wanted.
# Kernels that others have too are timed beside theirs (peers.py) where a python3 has torch and sees the device; ratios prints both. PLAIT_PYTHON is
# that python; PEERS the directory of the sdists of mamba-ssm and causal-conv1d, where they cannot be downloaded; PEERS=none leaves all peers out.
set -u
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$source/build-gpu}; [ $# -gt 0 ] && shift
parts=${*:-build tests copy scan experts decode_1 decode_64 state decode_attention convolution norms prefill_8k request prefill_attention prefill_128k kv throughput ratios sanitizer}
export PATH=$PATH:/usr/local/cuda/bin PLAIT_REQUIRE_GPU=1 PLAIT_TIMES=$build/times
# Of tests/unit, without _test.cpp; a golden checkpoint's is the last.
tests='ops/rows/pointwise_gpu ops/routing/route_gpu ops/sampling/sample_gpu ops/linear/linear_gpu ops/linear/gated_linear_gpu
  ops/routing/experts_gpu ops/short_conv/conv_silu_gpu ops/selective_scan/selective_scan_gpu ops/selective_scan/selective_ssm_gpu
  ops/attention/paged_attention_gpu model/device io/device_golden'
compared='scan experts state decode_attention convolution norms prefill_attention'
python=${PLAIT_PYTHON:-python3}
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
    [ -x "$program" ] && { echo "-- ${t##*/}$title"; "$@" "$program"; }
  done
}
plain() { part 300 12 "$1"; }
checked() { part 300 6 compute-sanitizer --tool memcheck --error-exitcode 9 "$1"; }
# Is there a peer at all? Asked once, and only where it matters.
peers=
with_peers() {
  if [ -z "$peers" ]; then
    local said
    peers=no
    if [ "${PEERS:-}" = none ]; then
      echo 'no peers: PEERS=none'
    elif said=$(timeout 120 "$python" "$source/benchmarks/gpu/peers.py" versions 2>/dev/null); then
      peers=yes
      echo "peers: $said"
    else
      echo "no peers: ${said:-$python cannot say what it has}"
    fi
  fi
  [ $peers = yes ]
}
# Of a peer that fails what it printed is kept; it makes no failure of the run.
peer() {
  [[ " $compared " == *" $1 "* ]] && with_peers || return 0
  timeout 240 "$python" "$source/benchmarks/gpu/peers.py" "$1" "$build/peers" >"$build/output" 2>"$build/errors"
  local code=$?
  tail -n 40 "$build/output"
  [ $code -eq 0 ] || { [ $code -eq 1 ] || tail -n 3 "$build/errors"; echo "peers of $1: not all of them ($code)"; }
}
# Lines of times: part, case, microseconds, whose. The last of equal ones counts.
ratios() {
  [ -s "$build/times" ] || { echo 'nothing was timed'; return; }
  awk -F '\t' -v compared=" $compared " '
    NF != 4 || $3 <= 0 || !index(compared, " " $1 " ") { next }
    { row = $1 FS $2 }
    !(row in known) { known[row]; rows[++n] = row }
    $4 == "plait" { ours[row] = $3; next }
    { any = 1 }
    !((row, $4) in theirs) { names[row] = names[row] (names[row] == "" ? "" : FS) $4 }
    { theirs[row, $4] = $3 }
    END {
      if (!any) { print "no peer was timed"; exit }
      print "microseconds; below 1 plait is faster"
      printf "| %-58s | %12s | %12s | %13s | %s |\n|---|---|---|---|---|\n", "what", "plait", "peer", "plait / peer", "which"
      for (i = 1; i <= n; ++i) {
        split(rows[i], what, FS)
        count = split(names[rows[i]], name, FS)
        mine = rows[i] in ours ? sprintf("%.1f", ours[rows[i]]) : "-"
        if (!count) printf "| %-58s | %12s | %12s | %13s | %s |\n", what[2], mine, "-", "-", "no peer"
        for (k = 1; k <= count; ++k) {
          t = theirs[rows[i], name[k]]
          printf "| %-58s | %12s | %12.1f | %13s | %s |\n", what[2], mine, t, mine == "-" ? "-" : sprintf("%.3f", ours[rows[i]] / t), name[k]
        }
      }
    }' "$build/times"
}

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
      rm -f "$build"/gpu_* "$build"/test.* "$build/times"
      if with_peers; then
        for name in mamba-ssm causal-conv1d; do
          { timeout 300 "$python" "$source/benchmarks/gpu/build_peer.py" $name "$build/peers" "sm_${capability:-90}"
            [ $? -ne 124 ] || echo "$name is left out: it was not built in 300 s"; } >"$build/peer.$name" 2>&1 &
        done
      fi
      {
        echo "$compile $source/benchmarks/gpu/ops.cu -o $build/gpu_ops"
        echo "$compile $source/benchmarks/gpu/models.cu -o $build/gpu_models"
        if echo '#include <doctest/doctest.h>' | g++ ${DOCTEST:+-I"$DOCTEST"} -x c++ -fsyntax-only - 2>/dev/null; then
          for t in ${tests% io/device_golden}; do echo "$compile -x cu $source/tests/unit/${t}_test.cpp $source/tests/unit/cuda/gpu_main.cu -o $build/test.${t//\//.}"; done
          if printf '#include <%s>\n' nlohmann/json.hpp CLI/CLI.hpp | g++ ${DOCTEST:+-I"$DOCTEST"} -x c++ -fsyntax-only - 2>/dev/null; then
            checkpoint=$source/tests/golden/tiny-headdim config=$build/golden/plait-config
            mkdir -p "$build/golden"
            echo "g++ -std=c++20 -I$source/include ${DOCTEST:+-I$DOCTEST} $source/examples/tools/plait_config.cpp -o $config &&" \
              "$config $checkpoint/config.json --name checkpoint_architecture >$build/golden/plait_architecture.hpp &&" \
              "$compile -I$build/golden '-DPLAIT_GOLDEN_CHECKPOINT=\"$checkpoint\"' '-DPLAIT_GOLDEN_DIR=\"${checkpoint%/*}\"'" \
              "-x cu $source/tests/unit/io/device_golden_test.cpp $source/tests/unit/cuda/gpu_main.cu -o $build/test.io.device_golden"
          else
            echo 'no nlohmann-json or no CLI11: the golden checkpoint is left out' >&2
          fi
        else
          echo 'no doctest: the tests are left out (DOCTEST names its directory)' >&2
        fi
      } >"$build/commands"
      xargs -d '\n' -P "$(nproc)" -I{} bash -c '{} 2>&1 || echo "FAILED: {}"' <"$build/commands" | head -40
      [ "$(ls "$build"/gpu_* "$build"/test.* 2>/dev/null | wc -l)" -eq "$(wc -l <"$build/commands")" ] || failed 'not all was built'
      wait
      [ $peers = no ] || tail -q -n 3 "$build"/peer.*
      ;;
    tests) each_test '' plain ;;
    sanitizer) if command -v compute-sanitizer >/dev/null; then each_test ', memcheck' checked; else echo 'compute-sanitizer is not installed'; fi ;;
    decode_1 | decode_64 | request | prefill_8k | prefill_128k | kv | throughput) part 300 40 "$build/gpu_models" "$p" ;;
    ratios) ratios ;;
    *) part 180 40 "$build/gpu_ops" "$p"; peer "$p" ;;
  esac
done
printf '\nin all %d s\n' "$SECONDS"
exit $status
