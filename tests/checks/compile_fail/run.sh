#!/usr/bin/env bash
# Compiles a file once per case and compares the errors with the file's sentences.
#   run.sh FILE COMPILER [FLAGS...]
# A case with "// N: compiles" compiles; every other fails and prints all of its sentences. Case 0
# compiles.
set -u
file=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cases=$(grep -oE 'CASE == [0-9]+|// [0-9]+: (plait: |compiles)' "$file" | grep -oE '[0-9]+' |
  sort -nu)
one() {
  local n=$1 legal=0; shift
  if grep -qE "// $n: compiles\$" "$file"; then legal=1; fi
  if "$@" -DCASE="$n" -fsyntax-only "$file" >"$work/$n" 2>&1; then
    [ "$legal" -eq 1 ] || echo "case $n compiles"
  elif [ "$legal" -eq 1 ]; then
    echo "case $n does not compile: $(head -5 "$work/$n")"
  else
    sentences=$(grep -oE "// $n: plait: .*" "$file" | sed "s|^// $n: ||")
    [ -n "$sentences" ] || echo "case $n has no sentence"
    while read -r sentence; do
      grep -qF -- "$sentence" "$work/$n" ||
        echo "case $n: no \"$sentence\" in: $(grep -m3 error "$work/$n")"
    done <<<"$sentences"
    if [[ $file == */rules.cpp ]] && grep 'error:' "$work/$n" | grep -qv 'plait: '; then
      echo "case $n: an error besides rules: $(grep 'error:' "$work/$n" | grep -v -m1 'plait: ')"
    fi
  fi
}
export -f one; export file work
problems=$(for n in $cases; do echo "$n"; done |
  xargs -P "$(nproc)" -I{} bash -c 'one {} "$@"' _ "$@")
count=$(wc -w <<<"$cases")
[ "$count" -gt 0 ] || problems="no cases in $file"
grep -q '// 0: compiles$' "$file" ||
  problems+=" $file: case 0 compiles nothing, so that a broken file is not told from a broken rule"
echo "$count cases"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
