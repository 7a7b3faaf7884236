#!/usr/bin/env bash
# Examples and benchmarks compile for an instruction set that this machine may lack; so do all
# headers together and, alone, every header that names registers, intrinsics or an instruction set.
# They compile to assembly: missing intrinsics of another instruction set are found by code
# generation.
#   programs.sh PROJECT_DIR LEVEL COMPILER [FLAGS...]
set -u
cd "$1" || exit 1
level=$2; shift 2
compiler=("$@" -march="$level" -O0 -S -o /dev/null -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  -Werror -Iinclude '-DPLAIT_SKETCH_DIR=""' -DPART=0)
found() {
  echo "#include <$1>" | "${compiler[@]}" -x c++ -fsyntax-only - 2>/dev/null ||
    { echo "SKIPPED: programs that include <$1> are not compiled for $level"; false; }
}
# plait_architecture.hpp is made from a checkpoint: CMake builds its programs.
without='<plait_architecture\.hpp>'
found benchmark/benchmark.h || without+='|<(plait/benchmark\.hpp|benchmark/benchmark\.h)>'
found nlohmann/json.hpp || without+='|<plait/io'
programs=$(grep -rlE '^int main\(' examples/*.cpp benchmarks/*.cpp; echo benchmarks/sweep_part.cpp)
programs=$(for p in $programs; do grep -qE "$without" "$p" || echo "$p"; done)
registers='PLAIT_(PACKET|BF16_DOT|INT8_DOT|AVX)|__m(128|256|512)|_mm|__AVX'
headers=$(cd include && grep -rlE "$registers" plait --include='*.hpp')
[ "$(wc -w <<<"$programs")" -gt 8 ] && [ "$(wc -w <<<"$headers")" -gt 5 ] ||
  { echo "fewer files than expected: $programs $headers"; exit 1; }
all=$(cd include && find plait -name '*.hpp' ! -path '*/*logue.hpp' | sort)
all=$(for h in $all; do grep -qE "$without" "include/$h" || echo "#include <$h>"; done)
problems=$(
  "${compiler[@]}" -x c++ - 2>&1 <<<"$all" | head -5
  for p in $programs; do "${compiler[@]}" "$p" 2>&1 | head -5; done
  for h in $headers; do
    echo "#include <$h>" | "${compiler[@]}" -x c++ - 2>&1 | head -5 | sed "s|^|$h: |"
  done
)
echo "$(wc -w <<<"$programs") programs and $(wc -w <<<"$headers") headers for $level"
[ -z "$problems" ] || { echo "$problems"; exit 1; }
