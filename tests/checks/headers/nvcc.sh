#!/usr/bin/env bash
# All headers that include neither Eigen nor JSON nor Google Benchmark compile with nvcc, without
# warnings and without these on its path, in two files: *.cuh and the headers of kernels with the
# flag that cuda/exec.cuh asks for, the others without. (headers.alone compiles each alone.) After a
# failure each is compiled alone, to name those that fail. Without nvcc it is skipped, and fails
# with PLAIT_REQUIRE_NVCC=1.
#   nvcc.sh INCLUDE_DIR NVCC
set -u
if ! command -v "$2" >/dev/null; then
  echo 'SKIPPED: no header is compiled with nvcc: it is not found'
  [ "${PLAIT_REQUIRE_NVCC:-0}" = 1 ] && exit 1
  exit 77
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
# Prints "plain HEADER" or "flagged HEADER" for a header that nvcc can compile.
sort_header() {
  [[ $1 == *.cuh ]] || ! echo "#include <$1>" | g++ -std=c++20 -x c++ -M -MG -I"$include" - |
    grep -qE '(^|[ /])(Eigen/|nlohmann/|benchmark/benchmark\.h)' || return
  case $1 in
    *.cuh | plait/gpu/* | plait/ops/*gpu* | plait/emulator*) echo "flagged $1" ;;
    *) echo "plain $1" ;;
  esac
}
# compile KIND HEADER...: in one file.
compile() {
  local kind=$1 file flags=''
  shift
  file=$(mktemp -p "$work" XXXXXX.cu)
  [ "$kind" = plain ] || flags=--expt-relaxed-constexpr
  printf '#include <%s>\n' "$@" >"$file"
  # shellcheck disable=SC2086  # no flag, or one
  "$nvcc" -std=c++20 $flags -Werror all-warnings -Xcompiler -Wall,-Wextra -I"$include" \
    -c "$file" -o "$file.o" >"$file.log" 2>&1 && return
  [ $# = 1 ] && sed "s|^|$1: |" "$file.log" | head -5
  return 1
}
export -f sort_header compile; export include=$1 nvcc=$2 work
(cd "$1" && find plait \( -name '*.hpp' -o -name '*.cuh' \) ! -path '*/*logue.hpp') | sort |
  xargs -P "$(nproc)" -I{} bash -c 'sort_header {}' | sort >"$work/headers"
problems=''
for kind in plain flagged; do
  mapfile -t headers < <(sed -n "s/^$kind //p" "$work/headers")
  compile "$kind" "${headers[@]}" && continue
  problems+=$'\n'"the $kind headers do not compile together"
  problems+=$'\n'$(printf '%s\n' "${headers[@]}" |
    xargs -P "$(nproc)" -I{} bash -c "compile $kind {}")
done
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
