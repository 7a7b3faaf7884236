#!/usr/bin/env bash
# Every part of the GPU benchmarks runs to its end before the fake CUDA, without a launch or a
# product that a device would refuse. The numbers are the fake's, and mean nothing. The times that
# are kept have the names that the peers' cases have.
#   benchmarks.sh FAKE_CUDA PEERS_PY [PROGRAM PART]...
set -u
fake=$1 peers=$2; shift 2
status=0
times=$(mktemp)
trap 'rm -f "$times"' EXIT
while [ $# -gt 0 ]; do
  output=$(FAKE_CUDA_VERBOSE=1 PLAIT_TIMES=$times LD_PRELOAD=$fake timeout 120 "$1" "$2" 2>&1) || { echo "$2: failed"; status=1; }
  if grep '^fake_cuda:' <<<"$output"; then echo "$2: a device would have refused that"; status=1; fi
  grep -qE '[0-9]' <<<"$output" || { echo "$2: says nothing"; status=1; }
  shift 2
done
if grep -vP '^[a-z_0-9]+\t[^\t]+\t[0-9]+\.[0-9]{3}\tplait$' "$times"; then echo 'a time is not kept as part, case, microseconds, plait'; status=1; fi
# How many experts are reached, only a device computes.
named() { cut -f 1,2 | sed -E 's/[0-9]+ of 16 reached/N of 16 reached/' | sort -u; }
cases=$(python3 "$peers" cases) && [ "$(wc -l <<<"$cases")" -ge 20 ] || { echo 'peers.py has no cases'; status=1; }
if comm -13 <(named <"$times") <(named <<<"$cases") | grep .; then echo 'these cases of the peers are not timed here'; status=1; fi
exit $status
