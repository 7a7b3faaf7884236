#!/usr/bin/env bash
# Every header that needs neither Eigen nor JSON nor Google Benchmark compiles alone with nvcc, with neither on its path. Without nvcc that is skipped, and
# with PLAIT_REQUIRE_NVCC=1 a failure.
#   nvcc.sh INCLUDE_DIR NVCC
set -u
if ! command -v "$2" >/dev/null; then
  echo 'SKIPPED: no header is compiled with nvcc: there is none'
  [ "${PLAIT_REQUIRE_NVCC:-0}" = 1 ] && exit 1
  exit 77
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
one() {
  local file=$work/${1//\//_}.cu
  echo "#include <$1>" >"$file"
  "$nvcc" -std=c++20 -I"$include" -c "$file" -o "$file.o" 2>&1 | head -5 | sed "s|^|$1: |"
}
export -f one; export include=$1 nvcc=$2 work
headers=$(cd "$1" && find plait -name '*.hpp' ! -path 'plait/ops/cpu/*' ! -path 'plait/io/*' ! -name plait.hpp ! -name io.hpp |
  grep -vE '^plait/benchmark(/(probe|measure|register_layer|register_model|run))?\.hpp$' | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {}')
echo "$(wc -l <<<"$headers") headers"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
