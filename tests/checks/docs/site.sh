#!/usr/bin/env bash
# MkDocs makes the site of the documents without a warning, with the headers in its search index.
# Skipped without MkDocs.
#   site.sh PROJECT_DIR PYTHON MKDOCS
set -u
if [ ! -x "$3" ]; then
  echo "SKIPPED: the site is not made: no mkdocs (Debian: mkdocs)"
  exit 77
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
"$2" "$1/docs/site.py" "$work" || exit 1
"$3" build --quiet --strict -f "$work/mkdocs.yml" || exit 1
grep -q 'reference/core.html#arenahpp' "$work/html/search/search_index.json" ||
  { echo 'core/arena.hpp is not in the search index'; exit 1; }
grep -q 'id="arenahpp"' "$work/html/docs/reference/core.html" ||
  { echo 'the page of core has no section on arena.hpp'; exit 1; }
