#!/usr/bin/env bash
# -ffast-math and its parts are refused with a sentence where the compiler has a macro for them;
# flags that change no result are accepted.
#   fast_math.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
sentence='plait: -ffast-math and its parts (-Ofast, '
status=0
# says FLAGS...: prints the preprocessor's messages on plait's headers with these flags.
compiler=("$@" -x c++ -E -o /dev/null -I"$include" -)
says() {
  printf '#include <plait/%s.hpp>\n' core/macros plait model/cache | "${compiler[@]}" "$@" 2>&1
}

refused=(-ffast-math -Ofast -ffinite-math-only '-ffast-math -O0')
parts=(-funsafe-math-optimizations '-fassociative-math -fno-signed-zeros -fno-trapping-math'
  -freciprocal-math -fno-signed-zeros '-ffast-math -fno-finite-math-only')
if "$1" --version | grep -q clang; then  # clang 14 has no macro for them
  for flags in "${parts[@]}"; do
    # shellcheck disable=SC2086
    says $flags | grep -qF "$sentence" || echo "this compiler has no macro for: $flags"
  done
else
  refused+=("${parts[@]}")
fi
for flags in "${refused[@]}"; do
  # shellcheck disable=SC2086
  out=$(says $flags)
  grep -F 'error' <<<"$out" | grep -qF "$sentence" ||
    { echo "FAILED: $flags is not refused: $(head -c 500 <<<"$out")"; status=1; }
done
for flags in '' -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast; do
  # shellcheck disable=SC2086
  out=$(says $flags) ||
    { echo "FAILED: \"$flags\" is refused: $(head -c 500 <<<"$out")"; status=1; }
done
echo "${#refused[@]} refused"
exit $status
