#!/usr/bin/env bash
# With -fno-exceptions plait is refused in one sentence; with -fno-rtti it compiles.
#   no_exceptions.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1; shift
status=0
compiler=("$@" -x c++ -fsyntax-only -I"$include" -)
sentence='plait: errors are exceptions (plait::error): compile without -fno-exceptions'
headers=(plait/plait.hpp plait/model/cache.hpp)
for optional in nlohmann/json.hpp:plait/io.hpp benchmark/benchmark.h:plait/benchmark.hpp; do
  needs=${optional%:*} header=${optional#*:}
  if echo "#include <$needs>" | "${compiler[@]}" 2>/dev/null; then
    headers+=("$header")
  else
    echo "SKIPPED: $header without RTTI: <$needs> is not found"
  fi
done
for header in "${headers[@]}"; do
  errors=$(echo "#include <$header>" | "${compiler[@]}" -fno-exceptions 2>&1 | grep 'error: ')
  errors=$(grep -v 'stop-at-the-error-above' <<<"$errors")
  [[ $(wc -l <<<"$errors") -eq 1 && $errors == *"$sentence"* ]] ||
    { echo "$header with -fno-exceptions: $errors"; status=1; }
  echo "#include <$header>" | "${compiler[@]}" -fno-rtti ||
    { echo "$header does not compile with -fno-rtti"; status=1; }
done
echo "${#headers[@]} headers"
exit $status
