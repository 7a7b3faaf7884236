#!/usr/bin/env bash
# Every header compiles alone, without warnings. Where there is no Google Benchmark, those that include it are left out.
#   alone.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
found=1
echo '#include <benchmark/benchmark.h>' | "$@" -x c++ -fsyntax-only - 2>/dev/null || found=0
one() {
  local header=$1; shift
  if [ "$found" = 0 ] && echo "#include <$header>" | "$@" -x c++ -M -MG -I"$include" - 2>/dev/null | grep -q 'benchmark/benchmark\.h'; then
    echo "SKIPPED: $header needs Google Benchmark" >&2
    return
  fi
  echo "#include <$header>" | "$@" -x c++ -fsyntax-only -Werror -I"$include" - 2>&1 | head -5 | sed "s|^|$header: |"
}
export -f one; export include found
headers=$(cd "$include" && find plait -name '*.hpp' | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {} "$@"' _ "$@")
echo "$(wc -l <<<"$headers") headers"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
