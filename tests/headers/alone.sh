#!/usr/bin/env bash
# Every header compiles alone, without warnings.
#   alone.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
one() {
  local header=$1; shift
  echo "#include <$header>" | "$@" -x c++ -fsyntax-only -Werror -I"$include" - 2>&1 | head -5 | sed "s|^|$header: |"
}
export -f one; export include
headers=$(cd "$include" && find plait -name '*.hpp' | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {} "$@"' _ "$@")
echo "$(wc -l <<<"$headers") headers"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
