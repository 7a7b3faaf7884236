#!/usr/bin/env bash
# Includes go one way: policy <- core <- exec <- ops <- layers <- model <- {models, io, benchmark}. Eigen is included by ops/cpu alone, JSON by
# io, Google Benchmark by benchmark; CUDA by headers *.cuh alone, which no other includes.
# core's prologue and epilogue, which have no includes, are for all. Everything but the policies is in the inline namespace.
#   direction.sh INCLUDE_DIR
set -u
cd "$1/plait" || exit 1
level() { case $1 in policy) echo 0 ;; core) echo 1 ;; exec) echo 2 ;; ops) echo 3 ;; layers) echo 4 ;; model) echo 5 ;; models | io | benchmark) echo 6 ;; *) echo 9 ;; esac; }
status=0
# Nothing escapes: every folder has a level, every file is a header, every include is in the form that is looked for.
for folder in */; do
  [ "$(level "${folder%/}")" -lt 9 ] || { echo "$folder has no place in the order of folders: give it one here and in docs/design.md"; status=1; }
done
find . -type f ! -name '*.hpp' ! -path ./cuda.cuh ! -path './exec/*.cuh' | grep . && { echo 'only .hpp files belong here, and .cuh in exec: no other is compiled alone'; status=1; }
grep -rnE '^ *# *include' . | grep -vE ':#include <[^>]+>' && { echo 'an include is written #include <...> at the start of a line'; status=1; }
while IFS=: read -r file line; do
  file=${file#./} from=${file%%/*} to=$(sed -E 's|.*<plait/([^/>]*)[/>].*|\1|' <<<"$line")
  [[ $file == */* ]] || continue  # the umbrella headers
  if [ "$(level "$from")" -lt "$(level "$to")" ] || { [ "$from" != "$to" ] && [ "$(level "$from")" -eq "$(level "$to")" ]; }; then
    echo "$file must not include $line"; status=1
  fi
  [[ $from == ops && $file != ops/cpu/* && $line == *'<plait/ops/cpu/'* ]] && { echo "$file must not include $line"; status=1; }
  [[ $from == ops && $file != ops/cuda/* && $line == *'<plait/ops/cuda/'* ]] && { echo "$file must not include $line"; status=1; }
  [[ $file != *.cuh && $line == *'.cuh>'* ]] && { echo "$file must not include $line: a plain C++ build sees no CUDA"; status=1; }
done < <(grep -rE '^#include <plait/' . --include='*.hpp' --include='*.cuh' | grep -vE '<plait/core/(prologue|epilogue)\.hpp>')
grep -E '^ *# *include' core/{prologue,epilogue}.hpp && { echo 'the prologue and the epilogue include nothing'; status=1; }
grep -rnE '^#include <(cu|nv|thrust)' . --include='*.hpp' && { echo 'CUDA is for headers *.cuh'; status=1; }
grep -rlE '^#include <Eigen' . | grep -v '^./ops/cpu/' && { echo 'Eigen is for ops/cpu'; status=1; }
grep -rlE '^#include <nlohmann' . | grep -v '^./io/' && { echo 'JSON is for io'; status=1; }
grep -rlE '^#include <benchmark' . | grep -v '^./benchmark/' && { echo 'Google Benchmark is for benchmark'; status=1; }
grep -lE '^#include <(benchmark/|plait/(ops|exec|layers|model|models|io)/)' benchmark/{names,roofline,routing,call,explain}.hpp && { echo 'explain and what it needs include policy and core alone'; status=1; }
grep -rhE '^#include <' policy | grep -vE '<(plait/policy/|plait/core/(prologue|epilogue)\.hpp>|[a-z_]+>)' && { echo 'policy includes the standard library alone'; status=1; }
grep -rhE '^namespace plait' . --exclude-dir=policy | grep -vE '^namespace plait::inline PLAIT_ABI(::[a-z]+)* \{$' && { echo 'only policies are outside the inline namespace'; status=1; }
grep -rn 'benchmark::internal' . && { echo "Google Benchmark's internal names change from version to version"; status=1; }
grep -rlE '^(using namespace|namespace \{)' . && { echo 'at namespace scope in a header'; status=1; }
exit $status
