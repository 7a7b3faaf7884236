#!/usr/bin/env bash
# The README's example is examples/readme.cpp, which runs; files that the documents name exist.
#   readme.sh PROJECT_DIR READMES_PROGRAM
set -u
cd "$1" || exit 1
status=0
fail() { echo "$*"; status=1; }
diff <(sed -n '/^```cpp$/,/^```$/p' README.md | sed '1d;$d') examples/readme.cpp ||
  fail 'the example in README.md is not examples/readme.cpp'
"$2" | grep -qE '^([0-9]+ ){8}$' || fail 'the example does not print eight ids'
folders='include/plait|tests|examples|benchmarks|policy|core|exec|cpu|gpu|cuda|emulator|ops|layers'
folders+='|model|models|io|benchmark'
pages=(README.md docs/*.md docs/*/*.md examples/*.md examples/data/*/*.md)
names="\`($folders)/[A-Za-z0-9_./-]+\.(hpp|cuh|cpp|sh|txt|md|json)\`"
for path in $(grep -ohE "$names" "${pages[@]}" | tr -d '`' | sort -u); do
  [ -e "$path" ] || [ -e "include/plait/$path" ] ||
    fail "a document names $path, which does not exist"
done
version=$(sed -n 's/^#define PLAIT_VERSION_[A-Z]* //p' include/plait/version.hpp | paste -sd.)
grep -qx "version: $version" CITATION.cff || fail "CITATION.cff does not have version $version"
exit $status
