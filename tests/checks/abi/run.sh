#!/usr/bin/env bash
# One program of files compiled for different instruction sets: it runs; each file has its own code
# of plait; symbols that files share belong to policies or not to plait; linked in ascending order,
# shared symbols have the code of the lowest instruction set.
#   run.sh INCLUDE_DIR MAJOR_MINOR ASCENDING_PROGRAM DESCENDING_PROGRAM LEVEL=OBJECT...
# LEVEL is that of the inline namespace; objects are in ascending order.
set -u
include=$1 version=$2 ascending=$3 descending=$4; shift 4
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
status=0
fail() { echo "FAILED: $*"; status=1; }

"$ascending" || fail 'the program'
"$descending" >"$work/log" || fail "the program linked in descending order: $(cat "$work/log")"

levels=()
for pair; do
  level=${pair%%=*}; levels+=("$level")
  nm "${pair#*=}" >"$work/$level.all"
  # Weak and unique symbols: the linker may use those of another file.
  awk 'NF == 3 && $2 ~ /^[WVu]$/ { print $3 }' "$work/$level.all" | sort >"$work/$level"
  named=$(grep -oE 'v[0-9]+_[0-9]+_(base|avx2|avx512)_(serial|omp)' "$work/$level.all" | sort -u)
  [ "$named" = "v${version}_$level" ] ||
    fail "the file compiled for v${version}_$level names: ${named:-nothing}"
done

# Two files share no symbol of an inline namespace, and of plait policies alone.
shared_policies=0
for ((i = 0; i < ${#levels[@]}; ++i)); do
  for ((j = i + 1; j < ${#levels[@]}; ++j)); do
    while read -r symbol; do
      if [[ $symbol == *"v${version}_"* ]]; then
        fail "${levels[i]} and ${levels[j]} share $symbol"
        continue
      fi
      shared_policies=$((shared_policies + 1))
      demangled=$(c++filt "$symbol")
      for name in $(grep -oE 'plait::[a-z_0-9]+' <<<"$demangled" | cut -c8- | sort -u); do
        declaration="(struct|class|namespace|constexpr [a-z_:0-9]+) $name\b"
        grep -rqE "$declaration" "$include/plait/policy" ||
          fail "${levels[i]} and ${levels[j]} share $demangled: $name is not of policy/"
      done
    done < <(comm -12 "$work/${levels[i]}" "$work/${levels[j]}" | grep 5plait)
  done
done
[ "$shared_policies" -gt 0 ] || fail 'no symbol is shared: the test cannot detect a shared one'

# too_new PROGRAM LEVEL PATTERN: functions that the file for LEVEL shares with a later one and whose
# instructions in PROGRAM match PATTERN.
too_new() {
  local program=$1 level=$2 pattern=$3 later=0 other
  for other in "${levels[@]}"; do
    [ "$later" -eq 1 ] && cat "$work/$other"
    [ "$other" = "$level" ] && later=1
  done | sort -u | comm -12 - "$work/$level" >"$work/shared"
  nm "$program" |
    awk 'NR == FNR { shared[$1]; next } NF == 3 && $3 in shared { print $1 }' "$work/shared" - \
      >"$work/addresses"
  objdump -d --no-show-raw-insn "$program" | pattern=$pattern awk '
    NR == FNR { shared[$1]; next }
    /^[0-9a-f]+ <.*>:$/ { inside = $1 in shared; name = $2 }
    inside && $0 ~ ENVIRON["pattern"] { print name; inside = 0 }' "$work/addresses" -
}
avx='\t(v[a-z]|andn |bextr |bls|mulx |pdep |pext |rorx |sarx |shlx |shrx |tzcnt |lzcnt |movbe )'
avx512='%zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])|[{]%k'
found=$(too_new "$ascending" base_serial "$avx") && [ -z "$found" ] ||
  fail "AVX in functions shared with the base: $found"
found=$(too_new "$ascending" avx2_serial "$avx512") && [ -z "$found" ] ||
  fail "AVX-512 in functions shared with AVX2: $found"
found=$(too_new "$descending" base_serial "$avx") && [ -n "$found" ] ||
  fail 'linked in descending order, no shared function has AVX: the test cannot detect one'
echo "linked in descending order, $(wc -l <<<"$found") shared functions have AVX"
exit $status
