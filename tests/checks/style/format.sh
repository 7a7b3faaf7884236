#!/usr/bin/env bash
# No line of C++ is beyond 100 bytes, and clang-format (14) changes nothing.
#   format.sh PROJECT_DIR CLANG_FORMAT
set -u
cd "$1" || exit 1
status=0
mapfile -t files < <(find include tests benchmarks examples -name golden -prune -o \
  -path examples/data -prune -o \
  \( -name '*.hpp' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' \) -print)
[ "${#files[@]}" -gt 300 ] || { echo "only ${#files[@]} files were found"; exit 1; }
LC_ALL=C awk 'length > 100 { print FILENAME ":" FNR ": " length " bytes; at most 100"; found = 1 }
  END { exit found }' "${files[@]}" || status=1
if [ ! -x "$2" ]; then
  [ $status = 0 ] || exit 1
  echo 'SKIPPED: clang-format is not installed'; exit 77
fi
if ! "$2" --version | grep -q 'version 14\.'; then
  [ $status = 0 ] || exit 1
  echo "SKIPPED: $("$2" --version): versions other than 14 format differently"; exit 77
fi
printf '%s\0' "${files[@]}" | xargs -0 -P "$(nproc)" -n 50 "$2" --dry-run -Werror 2>&1 |
  grep -E 'error:' | head -20 | grep . && status=1
exit $status
