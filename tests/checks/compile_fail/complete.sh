#!/usr/bin/env bash
# Every sentence of the compiler has a case, every sentence of a case begins exactly one, and every
# rule has a sentence.
#   complete.sh INCLUDE_DIR FILE...
set -u
include=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
status=0

# Sentences that no program here causes, with the reason.
cat >"$work/unreachable" <<'END'
plait: safetensors files are little-endian: needs a big-endian machine
plait: checksums read words of memory as little-endian: needs a big-endian machine
plait: the emulator switches between threads by POSIX ucontext: needs a system without it
plait: stored_types lists the types in the order: fails only where the header is wrong
plait: errors are exceptions (plait::error): no_exceptions.sh
END

# The headers, each string literal of several parts as one.
while IFS= read -r -d '' header; do
  sed -z -E 's/"\s*\n\s*"//g' "$header"
done < <(find "$include" -name '*.hpp' ! -name rule.hpp -print0 | sort -z) >"$work/headers"

# Sentences: literals that begin with "plait: ", but for those of exceptions; PLAIT_OP_MISSING makes
# one of an op's name.
grep '"plait: ' "$work/headers" | grep -v 'throw' | grep -oE '"plait: [^"]+' | sed 's|^"||' \
  >"$work/said"
grep -E '^ *PLAIT_OP_MISSING\(' "$work/headers" |
  sed -E 's|.*\((.*)\).*|plait: \1 has no implementation for this execution policy|' >>"$work/said"
sort -u -o "$work/said" "$work/said"
grep -hoE '// [0-9]+: plait: .*' "$@" | sed -E 's|^// [0-9]+: ||' | sort -u >"$work/expected"
echo "$(wc -l <"$work/said") sentences, $(wc -l <"$work/expected") expected," \
  "$(wc -l <"$work/unreachable") unreachable"
if [ "$(wc -l <"$work/said")" -lt 30 ]; then echo 'fewer than 30 sentences were found'; status=1; fi

sed 's|:[^:]*$||' "$work/unreachable" | cat "$work/expected" - >"$work/beginnings"
while IFS= read -r sentence; do
  found=0
  while IFS= read -r start; do
    [[ $sentence == "$start"* ]] && found=1
  done <"$work/beginnings"
  if [ $found -eq 0 ]; then echo "no case for: $sentence"; status=1; fi
done <"$work/said"
while IFS= read -r start; do
  count=0
  while IFS= read -r sentence; do
    [[ $sentence == "$start"* ]] && count=$((count + 1))
  done <"$work/said"
  if [ $count -ne 1 ]; then echo "$count sentences begin with: $start"; status=1; fi
done <"$work/beginnings"

# Every PLAIT_RULE, and every static_assert with a text, has a sentence that begins with "plait: ".
while IFS= read -r rule; do
  if ! grep -q '"plait: ' <<<"$rule"; then
    echo "a rule without a sentence that begins with plait: $rule"
    status=1
  fi
done < <(sed 's|//.*||' "$work/headers" | tr '\n' ' ' |
  grep -oE '(PLAIT_RULE\(|static_assert\()[^;]*;' | grep -E '^PLAIT_RULE|"')
exit $status
