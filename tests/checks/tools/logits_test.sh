#!/usr/bin/env bash
# logits on the command line: any chunk size and number of threads give the same bytes, and every
# error is one line and exit status 1.
#   logits_test.sh LOGITS CHECKPOINT
set -u
logits=$1 checkpoint=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# refuses PATTERN ARGUMENTS...: logits fails with one line that matches, and leaves --out unchanged.
refuses() {
  local pattern=$1; shift
  printf 'unchanged' >kept
  timeout 60 "$logits" --out kept "$@" >stdout 2>stderr
  local status=$?
  [ $status -eq 1 ] || fail "exit status $status, expected 1: $*"
  [ "$(wc -l <stderr)" -eq 1 ] && [ ! -s stdout ] ||
    fail "not one line on standard error: $*: $(head -3 stderr)"
  grep -qE -- "$pattern" stderr || fail "no '$pattern' in: $(cat stderr)"
  [ "$(cat kept)" = 'unchanged' ] || fail "--out was changed: $*"
  [ "$(find . -name '*kept*' | wc -l)" -eq 1 ] || fail "a temporary file was left: $(ls)"
}

printf '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n7\n' >tokens
printf '5 4\t3 2 1 0 9 8 7 6 5 4 3\r\n' >>tokens
"$logits" --checkpoint "$checkpoint" --tokens tokens --out whole.safetensors --threads 1 ||
  fail 'the first run'
for option in '--chunk 1' '--chunk 2' '--chunk 7' '--chunk 1000' '--threads 2' \
  '--threads 3 --chunk 3' ''; do
  # shellcheck disable=SC2086
  "$logits" --checkpoint "$checkpoint" --tokens tokens --out other.safetensors $option ||
    fail "with $option"
  cmp whole.safetensors other.safetensors || fail "other bytes with $option"
done
for run in first second; do
  "$logits" --checkpoint "$checkpoint" --tokens tokens --out other.safetensors --packed weights ||
    fail "the $run run with --packed"
  cmp whole.safetensors other.safetensors || fail "other bytes in the $run run with --packed"
done
"$logits" --checkpoint nowhere --tokens tokens --out other.safetensors --packed weights ||
  fail 'a packed file without its checkpoint'
head -c 400 whole.safetensors | tr -d '\0' | grep -q '"logits.0".*"logits.1".*"logits.2"' ||
  fail 'the names of the tensors'
printf '5 4 3 2 1 0 9 8 7 6 5 4 3' >alone  # without a newline at the end
"$logits" --checkpoint "$checkpoint" --tokens alone --out alone.safetensors ||
  fail 'a file without a last newline'
bytes=$(($(stat -c %s alone.safetensors) - 8 - $(od -An -t u8 -N 8 alone.safetensors)))
cmp <(tail -c $bytes alone.safetensors) <(tail -c $bytes whole.safetensors) ||
  fail 'a sequence alone has other logits than in the batch'

run=(--checkpoint "$checkpoint" --tokens)
# tokens_refused CONTENT PATTERN: a file of tokens with this content (for printf) is refused.
tokens_refused() {
  # shellcheck disable=SC2059
  printf "$1" >t
  refuses "$2" "${run[@]}" t
}
tokens_refused '1 2\n\n3\n' 't: line 1 is blank'
tokens_refused '1 2\n   \n' 't: line 1 is blank'
tokens_refused '' 't: is empty'
tokens_refused '\n' 't: line 0 is blank'
tokens_refused '1 2\n3 -1\n' 't: line 1, token 1: id -1 is outside the vocabulary'
tokens_refused '99999999\n' 'line 0, token 0: id 99999999 is outside'
tokens_refused '99999999999999999999\n' 'line 0, token 0: id 9+ is outside'
tokens_refused '1 -0\n' 'line 0, token 1: id -0 is outside'
tokens_refused '1 x\n' 'line 0, token 1: "x" is not a whole number'
tokens_refused '1 2.5\n' '"2.5" is not a whole number'
tokens_refused '1 \000 2\n' 'is not a whole number'
refuses 'missing: ' "${run[@]}" missing
refuses 'directory' "${run[@]}" .
refuses 'nowhere' --checkpoint nowhere --tokens tokens
refuses 'nowhere' --checkpoint nowhere --tokens tokens --packed none
refuses 'tokens: is not a packed file' "${run[@]}" tokens --packed tokens
refuses 'chunk' "${run[@]}" tokens --chunk 0
refuses 'threads' "${run[@]}" tokens --threads 0
refuses 'wrong' "${run[@]}" tokens --wrong
refuses 'tokens' --checkpoint "$checkpoint"

# damaged PATTERN COMMAND...: after COMMAND on a copy of the checkpoint, c, the copy is refused.
damaged() {
  local pattern=$1; shift
  rm -rf c && cp -r "$checkpoint" c && chmod -R u+w c
  "$@"
  refuses "$pattern" --checkpoint c --tokens tokens
}
weights=$(cd "$checkpoint" && ls model*.safetensors | head -1)
edit() { sed -i "$1" c/config.json; }
write() { printf "$1" | dd of="c/$weights" conv=notrunc status=none; }
append() { printf '%s' "$1" >>"c/$weights"; }
rename() { sed -i "s/$1/$2/" "c/$weights"; }
damaged 'config.json' rm c/config.json
damaged 'config.json: model_type is "llama"' edit 's/"model_type": "jamba"/"model_type": "llama"/'
damaged 'hidden_size is 12345, but this model was built for' \
  edit 's/"hidden_size": [0-9]*/"hidden_size": 12345/'
damaged 'hidden_act is "gelu"' edit 's/"hidden_act": "silu"/"hidden_act": "gelu"/'
damaged 'safetensors' rm "c/$weights"
for size in -1 100 0; do damaged "$weights" truncate -s $size "c/$weights"; done
damaged "$weights" write '\377\377\377\377\377\377\377\177'
damaged "$weights" append x
damaged 'final_layernorm' rename model.final_layernorm.weight model.final_layernorm.weighs
damaged "$weights" rename '"dtype":"[BF0-9]*"' '"dtype":"X99"'

# A full disk, and paths that cannot be written.
refuses_out() {
  timeout 60 "$logits" "${run[@]}" tokens --out "$1" >stdout 2>stderr
  [ $? -eq 1 ] && [ "$(wc -l <stderr)" -eq 1 ] || fail "--out $1: $(cat stderr)"
}
refuses_out nowhere/x
refuses_out .
(
  ulimit -f 1
  "$logits" "${run[@]}" tokens --out big 2>stderr
  [ $? -eq 1 ] && [ ! -e big ] && [ -z "$(find . -maxdepth 1 -name '*tmp*')" ]
) || fail "a full disk: $(cat stderr)"
exit $((failures > 0))
