#!/usr/bin/env bash
# Includes go one way, by folder and suffix: a header includes its own folder and lower levels.
#   policy, models/*/config < core < cpu, gpu < exec < cuda, emulator
#   exec < ops (contracts) < layers < model < models (typedefs)
#   ops/*_cpu see cpu/, ops/*_gpu see gpu/ and ops/*/gpu/; layers and above see contracts alone
#   model < io/files < io/architecture < models/*/checkpoint* < io;   model < benchmark
# Eigen is for cpu/, CUDA for cuda/*.cuh, JSON for io/ and checkpoint tables, Google Benchmark for
# benchmark/.
#   direction.sh INCLUDE_DIR
set -u
cd "$1/plait" || exit 1
# The level of a header (or of a folder's name), then its side: cpu, gpu or neither.
place() {
  case $1 in
    core/prologue.hpp | core/epilogue.hpp) echo -1 - ;;  # for every header
    policy/*) echo 0 - ;;
    models/*/config.hpp) echo 0.5 - ;;
    core/*) echo 1 - ;;
    cpu/*) echo 2 cpu ;; gpu/*) echo 2 gpu ;;
    exec/cpu.hpp) echo 3 cpu ;; exec/device.hpp) echo 3 gpu ;; exec/*) echo 3 - ;;
    cuda/*) echo 4 gpu ;; emulator/*) echo 4 gpu ;;
    ops/*/gpu/*) echo 2.5 gpu ;;
    ops/*_cpu.hpp) echo 5 cpu ;; ops/*_gpu.hpp) echo 5 gpu ;; ops/*) echo 4.5 - ;;
    layers/*) echo 6 - ;; model/*) echo 7 - ;;
    models/*/checkpoint*) echo 10 - ;; models/*) echo 8 - ;;
    io/files/*) echo 8 - ;; io/architecture/*) echo 9 - ;; io/*) echo 11 - ;;
    benchmark/*) echo 12 - ;;
    *) echo 99 - ;;
  esac
}
status=0
complain() { echo "$@"; status=1; }
grep -rnE '^ *# *include' . | grep -vE ':#include <[^>]+>' &&
  complain 'an include is not #include <...> at the start of a line'
while IFS=: read -r file line; do
  file=${file#./} to=${line#*<plait/} to=${to%>*}
  [[ $file == */* ]] || continue  # the umbrella headers
  read -r level side < <(place "$file"); read -r to_level to_side < <(place "$to")
  [ "$level" != 99 ] || complain "$file has no level: give it one here and in docs/design.md"
  [[ $to == */* ]] || { complain "$file includes the umbrella $to"; continue; }
  awk "BEGIN { exit !($to_level > $level) }" && complain "$file includes $to of a higher level"
  [ "$level" = "$to_level" ] && [ "${file%%/*}" != "${to%%/*}" ] &&
    complain "$file includes $to of another folder of its level"
  [ "$to_side" != - ] && [ "$side" != "$to_side" ] && [ "$side" != - ] &&
    complain "$file includes $to of the other side"
  [[ $file == ops/* || $file == layers/* ]] && [ "$side" = - ] && [ "$to_side" != - ] &&
    complain "$file is for every execution policy and includes $to"
  [[ $file != *.cuh && $to == *.cuh ]] && complain "$file includes $to: plain C++ has no CUDA"
done < <(grep -rE '^#include <plait/' . --include='*.hpp' --include='*.cuh')
find . -type f ! -name '*.hpp' ! -name README.md ! -path ./compiled.cpp ! -path ./cuda.cuh \
  ! -path './cuda/*.cuh' | grep . && complain 'neither .hpp, nor .cuh in cuda/'
only() { grep -rlE "^#include <($1)" . | grep -vE "^\./($2)" && complain "$3"; }
only 'cu|nv|thrust|cub/' 'cuda/.*\.cuh|cuda\.cuh' 'CUDA is for cuda/*.cuh'
only 'Eigen' 'cpu/' 'Eigen is for cpu'
only 'nlohmann' 'io/|models/[a-z_0-9]+/checkpoint' 'JSON is for io and checkpoint tables'
only 'benchmark/' 'benchmark/' 'Google Benchmark is for benchmark'
allowed='plait/policy/|plait/core/(prologue|epilogue)|plait/models/[a-z_0-9]+/config|[a-z_]+>'
grep -rhE '^#include <' policy models/*/config.hpp | grep -vE "<($allowed)" &&
  complain 'policies include the standard library alone'
grep -rlE '^namespace plait( |::|$)' . | grep -vE '^\./(policy|models/[a-z_0-9]+/config)' &&
  complain 'policies and configs alone are outside of PLAIT_NAMESPACE_BEGIN'
grep -rlE '^(using namespace|namespace \{)' . && complain 'at namespace scope in a header'
grep -rn 'benchmark::internal' . &&
  complain "Google Benchmark's internal names change between versions"
exit $status
