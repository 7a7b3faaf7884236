#!/usr/bin/env bash
# Every sentence that the compiler may say is said in some case, every sentence a case expects is the beginning of exactly one, and every
# rule has a sentence.
#   complete.sh INCLUDE_DIR FILE...
set -u
include=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
status=0

# What no program can bring about, with the reason.
cat >"$work/unreachable" <<'END'
plait: safetensors files are little-endian: it takes a machine that is not
plait: checksums read words of memory as little-endian: it takes a machine that is not
plait: the emulator switches between threads by POSIX ucontext: it takes a system without it
plait: stored_types lists the types in the order: a table of the library's own, wrong only if the header is
END

# Sentences: string literals that begin so, but for errors at run time; an op without an implementation makes its own of its name.
grep -rh --include='*.hpp' '"plait: ' "$include" | grep -v 'throw' | grep -oE '"plait: [^"]+' | sed 's|^"||' >"$work/said"
grep -rh --include='*.hpp' -E '^ *PLAIT_OP_MISSING\(' "$include" | sed -E 's|.*\((.*)\).*|plait: \1 has no implementation for this execution policy|' >>"$work/said"
sort -u -o "$work/said" "$work/said"
grep -hoE '// [0-9]+: plait: .*' "$@" | sed -E 's|^// [0-9]+: ||' | sort -u >"$work/expected"
echo "$(wc -l <"$work/said") sentences, $(wc -l <"$work/expected") expected, $(wc -l <"$work/unreachable") unreachable"
if [ "$(wc -l <"$work/said")" -lt 30 ]; then echo 'that cannot be all'; status=1; fi

while IFS= read -r sentence; do
  found=0
  while IFS= read -r start; do [[ $sentence == "$start"* ]] && found=1; done <"$work/expected"
  while IFS= read -r start; do [[ $sentence == "${start%:*}"* ]] && found=1; done <"$work/unreachable"
  if [ $found -eq 0 ]; then echo "no case for: $sentence"; status=1; fi
done <"$work/said"
while IFS= read -r start; do
  count=0
  while IFS= read -r sentence; do [[ $sentence == "$start"* ]] && count=$((count + 1)); done <"$work/said"
  if [ $count -ne 1 ]; then echo "$count sentences begin with: $start"; status=1; fi
done < <(cat "$work/expected"; sed 's|:[^:]*$||' "$work/unreachable")

# A rule, or a static_assert that says anything, says it in our words.
while IFS= read -r rule; do
  if ! grep -q '"plait: ' <<<"$rule"; then echo "a rule without a sentence that begins with plait: $rule"; status=1; fi
done < <(find "$include" -name '*.hpp' ! -name rule.hpp -print0 | xargs -0 cat | sed 's|//.*||' | tr '\n' ' ' |
  grep -oE '(PLAIT_RULE\(|static_assert\()[^;]*;' | grep -E '^PLAIT_RULE|"')
exit $status
