#!/usr/bin/env bash
# Compiles a file once for each of its cases and looks for the sentences it promises.
#   run.sh FILE COMPILER [FLAGS...]
# A case with "// N: compiles" must compile; every other must fail and print all of its sentences. Case 0 compiles.
set -u
file=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cases=$(grep -oE '^#(el)?if CASE == [0-9]+' "$file" | grep -oE '[0-9]+$')
one() {
  local n=$1 legal=0; shift
  if grep -qE "// $n: compiles\$" "$file"; then legal=1; fi
  if "$@" -DCASE="$n" -fsyntax-only "$file" >"$work/$n" 2>&1; then
    [ "$legal" -eq 1 ] || echo "case $n compiles"
  elif [ "$legal" -eq 1 ]; then
    echo "case $n does not compile: $(head -5 "$work/$n")"
  else
    sentences=$(grep -oE "// $n: plait: .*" "$file" | sed "s|^// $n: ||")
    [ -n "$sentences" ] || echo "case $n promises nothing"
    while read -r sentence; do
      grep -qF -- "$sentence" "$work/$n" || echo "case $n does not say: $sentence; it says: $(grep -m3 error "$work/$n")"
    done <<<"$sentences"
    if [[ $file == */rules.cpp ]] && grep 'error:' "$work/$n" | grep -qv 'plait: '; then
      echo "case $n says more than sentences: $(grep 'error:' "$work/$n" | grep -v -m1 'plait: ')"
    fi
  fi
}
export -f one; export file work
problems=$(for n in $cases; do echo "$n"; done | xargs -P "$(nproc)" -I{} bash -c 'one {} "$@"' _ "$@")
count=$(wc -w <<<"$cases")
[ "$count" -gt 0 ] || problems="no cases in $file"
grep -q '// 0: compiles$' "$file" || problems+=" case 0 of $file has to be one that compiles: whatever is broken, it is not the file"
echo "$count cases"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
