#!/usr/bin/env bash
# Universal Ctags, and so editors and tools, lists every struct, class and enum class at namespace
# scope of the headers.
#   ctags.sh INCLUDE_DIR CTAGS
set -u
cd "$1" || exit 1
[ -x "$2" ] && "$2" --version 2>/dev/null | grep -q Universal ||
  { echo 'SKIPPED: Universal Ctags is not installed'; exit 77; }
tags=$(mktemp) && trap 'rm -f "$tags"' EXIT
status=0
for header in $(find plait -name '*.hpp' -o -name '*.cuh'); do
  "$2" -x --language-force=C++ --c++-kinds=+cfsgtuvp "$header" | awk '{ print $1 }' | sort -u \
    >"$tags"
  # Definitions in the first column: struct NAME, class NAME, enum class NAME.
  sed -E 's|//.*||' "$header" | grep -vE '^[^{]*;' |
    grep -oE '^(struct|class|enum class) +[a-z_0-9]+' | awk '{ print $NF }' | sort -u |
    while read -r name; do
      grep -qx "$name" "$tags" || echo "$header: ctags does not list $name"
    done
done | grep . && status=1
exit $status
