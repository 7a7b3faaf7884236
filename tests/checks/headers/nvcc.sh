#!/usr/bin/env bash
# Every header that needs neither Eigen nor JSON nor Google Benchmark compiles alone with nvcc, without warnings, and with neither on its path:
# those for devices, *.cuh, ops/cuda and emulator.hpp, with the flag that they ask for, and without it they say so. Without nvcc that is skipped, and with
# PLAIT_REQUIRE_NVCC=1 a failure.
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
  local flags=''; [[ $1 == *.cuh || $1 == plait/ops/cuda/* || $1 == plait/emulator.hpp ]] && flags=--expt-relaxed-constexpr
  "$nvcc" -std=c++20 $flags -Werror all-warnings -Xcompiler -Wall,-Wextra -I"$include" -c "$file" -o "$file.o" 2>&1 | head -5 | sed "s|^|$1: |"
}
export -f one; export include=$1 nvcc=$2 work
headers=$(cd "$1" && find plait \( -name '*.hpp' -o -name '*.cuh' \) ! -path 'plait/ops/cpu/*' ! -path 'plait/io/*' ! -name plait.hpp ! -name io.hpp |
  grep -vE '^plait/benchmark(/(probe|measure|register_layer|register_model|run))?\.hpp$' | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {}')
echo '#include <plait/cuda.cuh>' >"$work/flag.cu"
"$2" -std=c++20 -I"$1" -c "$work/flag.cu" -o "$work/flag.o" 2>&1 | grep -q 'plait: kernels call constexpr functions: compile with nvcc --expt-relaxed-constexpr' ||
  problems+=$'\n''plait/cuda.cuh: does not ask for --expt-relaxed-constexpr'
echo '#include <plait/cuda/exec.cuh>' >"$work/plain.cpp"
g++ -std=c++20 -I"$1" -fsyntax-only "$work/plain.cpp" 2>&1 | grep -q 'plait: cuda/exec.cuh has kernels in it: compile this file with nvcc, as .cu' ||
  problems+=$'\n''plait/cuda/exec.cuh: does not say that it is for nvcc'
echo "$(wc -l <<<"$headers") headers"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
