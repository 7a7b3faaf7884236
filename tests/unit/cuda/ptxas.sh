#!/usr/bin/env bash
# Registers, stack and shared memory of the kernels by ptxas on every supported architecture. No
# kernel spills registers.
#   ptxas.sh INCLUDE_DIR NVCC FILE [ARCHITECTURE...]
set -u
include=$1 nvcc=$2 file=$3; shift 3
[ $# -gt 0 ] || set -- 80 90a 100 120
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
one() {
  "$nvcc" -std=c++20 --expt-relaxed-constexpr -Werror all-warnings -Xcompiler -Wall,-Wextra \
    -I"$include" -gencode "arch=compute_$1,code=sm_$1" -Xptxas -v -c "$file" -o "$work/$1.o" \
    >"$work/$1.log" 2>&1 || {
    grep -vE '^ptxas info|^ *[0-9]+ bytes' "$work/$1.log" | head -20
    echo "sm_$1: nvcc failed"
    exit 1
  }
  # Per kernel: its name, then a line of stack and spills, then one of registers and shared memory.
  awk '/Compiling entry function/ { split($0, part, "\047"); name = part[2] }
       /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
       /Used [0-9]+ registers/ {
         match($0, /Used [0-9]+/)
         registers = substr($0, RSTART + 5, RLENGTH - 5)
         memory = 0
         if (match($0, /[0-9]+ bytes smem/)) memory = substr($0, RSTART, RLENGTH - 11)
         print name, registers, stack, stores + loads, memory
       }' "$work/$1.log" | c++filt |
    sed -E 's/^.*cuda_entry<(.*)>\([^()]*(\([^()]*\)[^()]*)*\)( [0-9 ]+)$/\1\3/
      s/plait::(v[0-9a-z_]+::)?//g; s/kernels:://; s/\((dtype)\)/\1 /g' | sort -u >"$work/$1.list"
}
export -f one; export include nvcc file work
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'one {}' || exit 1
status=0
for arch in "$@"; do
  n=$(wc -l <"$work/$arch.list")
  echo "sm_$arch: $n kernels (registers, bytes of stack, of spills, of shared memory)"
  [ "$n" -ge 40 ] || { echo "sm_$arch: fewer than 40 kernels"; status=1; }
  awk '{ name = $1; for (i = 2; i <= NF - 4; ++i) name = name " " $i
         mark = $(NF - 1) > 0 ? "   SPILLS" : ""
         printf "  %3d %5d %5d %6d  %s%s\n", $(NF - 3), $(NF - 2), $(NF - 1), $NF, name, mark
       }' "$work/$arch.list"
  if awk '$(NF - 1) > 0 { found = 1 } END { exit !found }' "$work/$arch.list"; then status=1; fi
done
exit $status
