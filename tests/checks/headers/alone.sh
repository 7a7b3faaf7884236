#!/usr/bin/env bash
# Every header compiles alone and without warnings after macros that other people's headers define
# (foreign_macros.hpp), and leaves these macros unchanged. Headers that include Google Benchmark are
# left out where it is not found.
#   alone.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
foreign=$(cd "$(dirname "$0")" && pwd)/foreign_macros.hpp
found=1
echo '#include <benchmark/benchmark.h>' | "$@" -x c++ -fsyntax-only - 2>/dev/null || found=0
one() {
  local header=$1; shift
  if [ "$found" = 0 ] && echo "#include <$header>" |
    "$@" -x c++ -M -MG -I"$include" - 2>/dev/null | grep -q 'benchmark/benchmark\.h'; then
    echo "SKIPPED: $header needs Google Benchmark" >&2
    return
  fi
  echo "#include <$header>" |
    "$@" -include "$foreign" -x c++ -fsyntax-only -Werror -I"$include" - 2>&1 |
    head -5 | sed "s|^|$header: |"
}
# The macros that are defined after the lines of standard input.
macros() { "$@" -include "$foreign" -x c++ -dM -E -I"$include" - | LC_ALL=C sort; }
export -f one; export include found foreign
headers=$(cd "$include" && find plait -name '*.hpp' | grep -vx 'plait/core/epilogue.hpp' | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {} "$@"' _ "$@")
echo "$(wc -l <<<"$headers") headers"

# Every header but those of plait's includes alone, or of macros alone, is enclosed by the prologue
# and the epilogue.
for header in $(cd "$include" && find plait -name '*.hpp' -o -name '*.cuh'); do
  [[ $header == plait/core/prologue.hpp || $header == plait/core/epilogue.hpp ]] && continue
  code=$(sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$include/$header" |
    grep -vE '^ *(//.*)?$' | grep -vxF '#pragma once')
  grep -vE '^ *#' <<<"$code" | grep -q . ||
    grep -E '^ *# *include' <<<"$code" | grep -qvE '<(plait/|stop-at-the-error-above>)' || continue
  [ "$(head -n 1 <<<"$code")" = '#include <plait/core/prologue.hpp>' ] &&
    [ "$(tail -n 1 <<<"$code")" = '#include <plait/core/epilogue.hpp>' ] ||
    problems+=$'\n'"$header: does not begin with prologue.hpp and end with epilogue.hpp"
done
for header in plait/policy.hpp plait/plait.hpp; do
  lost=$(LC_ALL=C comm -23 <(macros "$@" </dev/null) <(echo "#include <$header>" | macros "$@"))
  [ -z "$lost" ] || problems+=$'\n'"$header changes macros of other headers: $lost"
done
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
