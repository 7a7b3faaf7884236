#!/usr/bin/env bash
# generate on the embedded checkpoint: the same text for the same seed, ids, and refusals.
#   generate_test.sh GENERATE
set -u
generate=$1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

"$generate" --seed 3 --count 200 >a 2>speed &&
  "$generate" --seed 3 --count 200 --threads 1 >b 2>/dev/null || fail 'a run'
cmp a b || fail 'the same seed gave another text'
"$generate" --seed 4 --count 200 >c 2>/dev/null
cmp -s a c && fail 'another seed gave the same text'
grep -q '^In the beginning ' a || fail 'the prompt is missing'
[ "$(grep -oiwE 'the|and|of|to|unto|lord|he|that|in|his' a | wc -l)" -ge 12 ] ||
  fail "not verses: $(cat a)"
grep -q 'tokens/s' speed || fail 'no speed'
"$generate" --temperature 0 --prompt 'And ' --count 5 >d 2>/dev/null &&
  [ "$(wc -c <d)" -eq 10 ] || fail 'greedy, 5 bytes'
"$generate" --ids '65 110 100 32' --temperature 0 --count 5 >e 2>/dev/null &&
  grep -qE '^65 110 100 32( [0-9]+){5} *$' e || fail "ids: $(cat e)"
"$generate" --help | grep -q 'base models' || fail 'the help does not mention base models'
for wrong in '--count 0' '--temperature -1' '--temperature x' '--ids 256' '--ids' \
  '--checkpoint nowhere' '--flag'; do
  # shellcheck disable=SC2086
  "$generate" $wrong >stdout 2>stderr
  status=$?
  [ $status -eq 1 ] && [ "$(wc -l <stderr)" -eq 1 ] || fail "$wrong: status $status, $(cat stderr)"
done
exit $((failures > 0))
