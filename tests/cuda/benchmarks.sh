#!/usr/bin/env bash
# Every part of the GPU benchmarks runs to its end before the fake CUDA, without a launch or a product that a device would refuse. The numbers
# are the fake's, and mean nothing.
#   benchmarks.sh FAKE_CUDA [PROGRAM PART]...
set -u
fake=$1; shift
status=0
while [ $# -gt 0 ]; do
  output=$(FAKE_CUDA_VERBOSE=1 LD_PRELOAD=$fake timeout 120 "$1" "$2" 2>&1) || { echo "$2: failed"; status=1; }
  if grep '^fake_cuda:' <<<"$output"; then echo "$2: a device would have refused that"; status=1; fi
  grep -qE '[0-9]' <<<"$output" || { echo "$2: says nothing"; status=1; }
  shift 2
done
exit $status
