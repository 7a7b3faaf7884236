#!/usr/bin/env bash
# Examples and benchmarks compile for an instruction set that may not be this machine's, to assembly, as intrinsics of another one are found
# nowhere before; and so does every header that names registers, intrinsics or an instruction set, alone.
#   programs.sh PROJECT_DIR LEVEL COMPILER [FLAGS...]
set -u
cd "$1" || exit 1
level=$2; shift 2
compiler=("$@" -march="$level" -O0 -S -o /dev/null -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude
  '-DPLAIT_SKETCH_DIR=""' -DPART=0)
found() { echo "#include <$1>" | "${compiler[@]}" -x c++ -fsyntax-only - 2>/dev/null || { echo "SKIPPED: what includes <$1> is not compiled for $level"; false; }; }
without='<plait_architecture\.hpp>'
found benchmark/benchmark.h || without+='|<(plait/benchmark\.hpp|benchmark/benchmark\.h)>'
found nlohmann/json.hpp || without+='|<plait/io'
# plait_architecture.hpp is made from a checkpoint: its programs are built by CMake.
programs=$(grep -rlE '^int main\(' examples/*.cpp benchmarks/*.cpp; echo benchmarks/sweep_part.cpp)
programs=$(for p in $programs; do grep -qE "$without" "$p" || echo "$p"; done)
headers=$(cd include && grep -rlE 'PLAIT_(PACKET|BF16_DOT|INT8_DOT|AVX)|__m(128|256|512)|_mm|__AVX' plait --include='*.hpp')
[ "$(wc -w <<<"$programs")" -gt 8 ] && [ "$(wc -w <<<"$headers")" -gt 5 ] || { echo "too little to compile: $programs $headers"; exit 1; }
problems=$(
  for p in $programs; do "${compiler[@]}" "$p" 2>&1 | head -5; done
  for h in $headers; do echo "#include <$h>" | "${compiler[@]}" -x c++ - 2>&1 | head -5 | sed "s|^|$h: |"; done
)
echo "$(wc -w <<<"$programs") programs and $(wc -w <<<"$headers") headers for $level"
[ -z "$problems" ] || { echo "$problems"; exit 1; }
