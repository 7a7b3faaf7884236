#!/usr/bin/env bash
# Runs a program compiled for x86-64-v3 where this machine has that level.
#   run.sh PROGRAM
set -u
for extension in avx2 fma f16c; do
  grep -qw "$extension" /proc/cpuinfo || {
    echo "SKIPPED: the tests for x86-64-v3 do not run: /proc/cpuinfo lists no $extension"
    exit 77
  }
done
exec "$1"
