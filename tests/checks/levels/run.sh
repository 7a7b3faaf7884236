#!/usr/bin/env bash
# Runs a program compiled for x86-64-v3, where this machine is one.
#   run.sh PROGRAM
set -u
for extension in avx2 fma f16c; do
  grep -qw "$extension" /proc/cpuinfo || { echo "SKIPPED: the tests for x86-64-v3 do not run: this machine has no $extension, as /proc/cpuinfo says"; exit 77; }
done
exec "$1"
