#!/usr/bin/env bash
# The README's example is examples/readme.cpp, which is compiled and run; the documents name only files that exist.
#   readme.sh PROJECT_DIR READMES_PROGRAM
set -u
cd "$1" || exit 1
status=0
diff <(sed -n '/^```cpp$/,/^```$/p' README.md | sed '1d;$d') examples/readme.cpp || { echo 'the example in README.md is not examples/readme.cpp'; status=1; }
"$2" | grep -qE '^([0-9]+ ){8}$' || { echo 'the example does not run'; status=1; }
for path in $(grep -ohE '`(include/plait|tests|examples|benchmarks|ops|layers|model|core|io|policy)/[A-Za-z0-9_./-]+\.(hpp|cpp|sh|txt|md|json)`' README.md docs/*.md docs/*/*.md examples/*.md examples/data/*/*.md | tr -d '`' | sort -u); do
  [ -e "$path" ] || [ -e "include/plait/$path" ] || { echo "a document names $path, which does not exist"; status=1; }
done
version=$(sed -n 's/^#define PLAIT_VERSION_[A-Z]* //p' include/plait/version.hpp | paste -sd.)
grep -qx "version: $version" CITATION.cff || { echo "CITATION.cff is not of version $version"; status=1; }
exit $status
