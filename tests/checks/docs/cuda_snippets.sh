#!/usr/bin/env bash
# Every ```cuda block of the documents is a file that nvcc compiles without warnings.
#   cuda_snippets.sh PROJECT_DIR NVCC
set -u
cd "$1" || exit 1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
status=0 count=0
for page in $(grep -rlE '^```cuda$' README.md docs benchmarks examples --include='*.md' | sort); do
  awk -v dir="$work" -v base="$(basename "$page" .md)" '
    /^```cuda$/ { inside = 1; file = dir "/" base "." ++n ".cu"; next }
    /^```/ { inside = 0 }
    inside { print > file }' "$page"
done
for file in "$work"/*.cu; do
  [ -e "$file" ] || break
  count=$((count + 1))
  # Without machine code and optimizer: diagnostics come from the front end.
  log=$("$2" -std=c++20 --expt-relaxed-constexpr -Xcompiler -Wall,-Wextra -arch=compute_90a \
    -Xcicc=-O0 -Iinclude -c "$file" -o "$work/o" 2>&1) || status=1
  if [ -n "$log" ]; then status=1; echo "$(basename "$file"): $(head -12 <<<"$log")"; fi
done
echo "$count files"
[ "$count" -gt 0 ] || status=1
exit $status
