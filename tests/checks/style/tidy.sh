#!/usr/bin/env bash
# clang-tidy (14) with the project's .clang-tidy finds nothing in the headers, -Wcomma included.
#   tidy.sh PROJECT_DIR CLANG_TIDY EIGEN_INCLUDE
set -u
cd "$1" || exit 1
[ -x "$2" ] || { echo 'SKIPPED: clang-tidy is not installed'; exit 77; }
"$2" --version | grep -q 'version 14\.' || {
  echo "SKIPPED: $("$2" --version | grep -m1 version): another version than 14"
  exit 77
}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
flags=(-std=c++20 -Wcomma -Iinclude -isystem "$3")
# Two programs, for two cores.
printf '#include <plait/plait.hpp>\n#include <plait/io.hpp>\n' >"$work/host.cpp"
printf '#include <plait/emulator.hpp>\n#include <plait/benchmark.hpp>\n' >"$work/device.cpp"
for half in host device; do
  "$2" --quiet --config-file=.clang-tidy "$work/$half.cpp" -- "${flags[@]}" \
    >"$work/$half.log" 2>&1 &
done
wait
# A warning without a file is of a parameter that clang-tidy makes for `auto` itself.
cat "$work"/*.log | grep -E '^[^ ]+: (warning|error):' | sort -u \
  >"$work/found"
# clang-tidy reports a bad name, so that an empty list means something.
printf 'namespace plait { struct BadName {}; }\n' >"$work/bad.cpp"
"$2" --quiet --config-file=.clang-tidy "$work/bad.cpp" -- -std=c++20 2>/dev/null |
  grep -q 'identifier-naming' || { echo 'clang-tidy does not report a bad name'; exit 1; }
cat "$work/found"
[ ! -s "$work/found" ]
