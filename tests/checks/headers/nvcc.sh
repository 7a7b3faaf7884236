#!/usr/bin/env bash
# Every header that includes neither Eigen nor JSON nor Google Benchmark compiles alone with nvcc,
# without warnings and without these on its path; *.cuh and the headers of kernels with the flag
# that cuda/exec.cuh asks for. Without nvcc it is skipped, and fails with PLAIT_REQUIRE_NVCC=1.
#   nvcc.sh INCLUDE_DIR NVCC
set -u
if ! command -v "$2" >/dev/null; then
  echo 'SKIPPED: no header is compiled with nvcc: it is not found'
  [ "${PLAIT_REQUIRE_NVCC:-0}" = 1 ] && exit 1
  exit 77
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
one() {
  local file=$work/${1//\//_}.cu flags=''
  if [[ $1 != *.cuh ]] && echo "#include <$1>" |
    g++ -std=c++20 -x c++ -M -MG -I"$include" - |
    grep -qE '(^|[ /])(Eigen/|nlohmann/|benchmark/benchmark\.h)'; then
    return
  fi
  echo "$1" >>"$work/headers"
  case $1 in
    *.cuh | plait/gpu/* | plait/ops/*gpu* | plait/emulator*) flags=--expt-relaxed-constexpr ;;
  esac
  echo "#include <$1>" >"$file"
  # shellcheck disable=SC2086  # no flag, or one
  "$nvcc" -std=c++20 $flags -Werror all-warnings -Xcompiler -Wall,-Wextra -I"$include" \
    -c "$file" -o "$file.o" 2>&1 | head -5 | sed "s|^|$1: |"
}
export -f one; export include=$1 nvcc=$2 work
headers=$(cd "$1" && find plait \( -name '*.hpp' -o -name '*.cuh' \) | sort)
problems=$(echo "$headers" | xargs -P "$(nproc)" -I{} bash -c 'one {}')
# refused FILE SENTENCE COMPILER...: the compiler prints this sentence for the file.
refused() {
  "${@:3}" -std=c++20 -I"$include" -c "$1" -o "$work/o" 2>&1 | grep -qF -- "$2" ||
    problems+=$'\n'"$1: \"$2\" is not printed"
}
echo '#include <plait/cuda.cuh>' >"$work/flag.cu"
refused "$work/flag.cu" \
  'plait: kernels call constexpr functions: compile with nvcc --expt-relaxed-constexpr' "$2"
echo '#include <plait/cuda/exec.cuh>' >"$work/plain.cpp"
refused "$work/plain.cpp" \
  'plait: cuda/exec.cuh has kernels in it: compile this file with nvcc, as .cu' g++
count=$(wc -l <"$work/headers")
echo "$count headers"
[ "$count" -gt 100 ] || problems+=$'\n'"fewer than 100 headers"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
