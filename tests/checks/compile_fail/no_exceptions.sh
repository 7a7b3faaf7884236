#!/usr/bin/env bash
# Without exceptions plait is refused in one sentence; without RTTI it compiles.
#   no_exceptions.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
status=0
compiler=("$@" -x c++ -fsyntax-only -I"$include" -)
sentence='plait: errors are exceptions (plait::error): compile without -fno-exceptions'
headers=(plait/plait.hpp plait/model/cache.hpp)
for optional in nlohmann/json:plait/io benchmark/benchmark:plait/benchmark; do
  if echo "#include <${optional%:*}$([ "${optional%:*}" = nlohmann/json ] && echo .hpp || echo .h)>" | "${compiler[@]}" 2>/dev/null; then headers+=("${optional#*:}.hpp")
  else echo "SKIPPED: ${optional#*:}.hpp without RTTI: <${optional%:*}> is not found"; fi
done
for header in "${headers[@]}"; do
  errors=$(echo "#include <$header>" | "${compiler[@]}" -fno-exceptions 2>&1 | grep 'error: ')
  errors=$(grep -v 'stop-at-the-error-above' <<<"$errors")
  [[ $(wc -l <<<"$errors") -eq 1 && $errors == *"$sentence"* ]] || { echo "$header with -fno-exceptions: $errors"; status=1; }
  echo "#include <$header>" | "${compiler[@]}" -fno-rtti || { echo "$header does not compile with -fno-rtti"; status=1; }
done
echo "${#headers[@]} headers"
exit $status
