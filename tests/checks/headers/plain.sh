#!/usr/bin/env bash
# Plain C++ includes nothing of CUDA: neither its toolkit nor plait's headers for it.
#   plain.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
status=0
for header in plait.hpp io.hpp policy.hpp; do
  files=$(echo "#include <plait/$header>" | "$@" -x c++ -M -I"$include" - 2>/dev/null |
    sed "s|$include/||g" | tr -s ' \\\n' '\n')
  if [ "$header" != io.hpp ] || [ -n "$files" ]; then
    [ "$(wc -l <<<"$files")" -gt 20 ] || { echo "$header: the compiler lists no files"; status=1; }
  fi
  if grep -E '\.cuh$|/cuda|cccl|cublas' <<<"$files"; then
    echo "$header includes files of CUDA"
    status=1
  fi
done
exit $status
