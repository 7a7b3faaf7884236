#!/usr/bin/env bash
# Editors and tools find what headers declare: Universal Ctags lists every struct, class and enum
# that stands at namespace scope.
#   ctags.sh INCLUDE_DIR CTAGS
set -u
cd "$1" || exit 1
if ! [ -x "$2" ] || ! "$2" --version 2>/dev/null | grep -q Universal; then
  echo 'SKIPPED: Universal Ctags is not installed'
  exit 77
fi
listed=$(mktemp) && trap 'rm -f "$listed"' EXIT
status=0
for header in $(find plait -name '*.hpp' -o -name '*.cuh'); do
  "$2" -x --language-force=C++ --c++-kinds=+cfsgtuvp "$header" | awk '{ print $1 }' | sort -u >"$listed"
  # What begins a definition in the first column: struct NAME, class NAME, enum class NAME.
  names=$(sed -E 's|//.*||' "$header" | grep -v ';$' |
    grep -oE '^(struct|class|enum class) +[a-z_0-9]+' | awk '{ print $NF }' | sort -u)
  for name in $names; do
    grep -qx "$name" "$listed" || { echo "$header: ctags does not list $name"; status=1; }
  done
done
exit $status
