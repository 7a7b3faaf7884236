#!/usr/bin/env bash
# The README's example is examples/readme.cpp, which is compiled and run; the documents name only files that exist.
#   readme.sh PROJECT_DIR READMES_PROGRAM
set -u
cd "$1" || exit 1
status=0
diff <(sed -n '/^```cpp$/,/^```$/p' README.md | sed '1d;$d') examples/readme.cpp || { echo 'the example in README.md is not examples/readme.cpp'; status=1; }
"$2" | grep -qE '^([0-9]+ ){8}$' || { echo 'the example does not run'; status=1; }
while IFS=: read -r file target; do
  [ -e "$(dirname "$file")/$target" ] || { echo "$file links to $target, which does not exist"; status=1; }
done < <(grep -oHE '\]\([^)#: ]+(#[^) ]*)?\)' ./*.md docs/*.md docs/*/*.md benchmarks/*.md examples/data/*/*.md | sed -E 's/\]\(([^#]*).*\)/\1/')
for path in $(grep -ohE '`(tests|examples|benchmarks|ops|layers|model|core|io|policy)/[A-Za-z0-9_./-]+\.(hpp|cpp|sh|txt|md|json)`' README.md docs/*.md docs/*/*.md examples/data/*/*.md | tr -d '`' | sort -u); do
  [ -e "$path" ] || [ -e "include/plait/$path" ] || { echo "a document names $path, which does not exist"; status=1; }
done
exit $status
