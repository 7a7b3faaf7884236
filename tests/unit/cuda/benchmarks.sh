#!/usr/bin/env bash
# Every part of the GPU benchmarks runs to its end with the fake CUDA, without a launch or a product
# that a device refuses (the times mean nothing), and the recorded times have the names of the
# peers' cases.
#   benchmarks.sh FAKE_CUDA PEERS_PY [PROGRAM PART]...
set -u
fake=$1 peers=$2; shift 2
status=0
fail() { echo "$*"; status=1; }
times=$(mktemp)
trap 'rm -f "$times"' EXIT
while [ $# -gt 0 ]; do
  output=$(FAKE_CUDA_VERBOSE=1 PLAIT_TIMES=$times LD_PRELOAD=$fake timeout 120 "$1" "$2" 2>&1) ||
    fail "$2: failed"
  grep '^fake_cuda:' <<<"$output" && fail "$2: a device refuses that"
  grep -qE '[0-9]' <<<"$output" || fail "$2: prints no number"
  shift 2
done
grep -vP '^[a-z_0-9]+\t[^\t]+\t[0-9]+\.[0-9]{3}\tplait$' "$times" &&
  fail 'a time is not recorded as part, case, microseconds, plait'
# Only a device computes how many experts are reached.
named() { cut -f 1,2 | sed -E 's/[0-9]+ of 16 reached/N of 16 reached/' | sort -u; }
cases=$(python3 "$peers" cases) && [ "$(wc -l <<<"$cases")" -ge 20 ] ||
  fail 'peers.py has fewer than 20 cases'
comm -13 <(named <"$times") <(named <<<"$cases") | grep . &&
  fail 'these cases of the peers are not timed'
exit $status
