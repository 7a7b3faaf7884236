#!/usr/bin/env bash
# Copies the headers and compiles a program with them without CMake: with the headers alone, and
# with the ops compiled once.
#   copied.sh SOURCE_DIR COMPILER FLAGS...
set -eu
source=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cp -r "$source/include" "$work/third party"
compile() { "$@" -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$work/third party"; }
files=("$source/tests/checks/package/model.cpp" "$source/tests/checks/package/other.cpp")
compile "$@" "${files[@]}" -o "$work/model"
"$work/model"

compile "$@" -c "$work/third party/plait/compiled.cpp" -o "$work/compiled.o"
compile "$@" -DPLAIT_COMPILED "${files[@]}" "$work/compiled.o" -o "$work/model_compiled"
"$work/model_compiled"
# Without the compiled ops the linker names the inline namespace that is missing.
if compile "$@" -DPLAIT_COMPILED "${files[@]}" -o "$work/model_without" 2>"$work/log"; then
  echo 'with PLAIT_COMPILED the headers define the ops'
  exit 1
fi
missing='undefined reference to .plait::v[0-9_]*_base_serial::ops::linear_cpu<'
grep -q "$missing" "$work/log" || { cat "$work/log"; exit 1; }
