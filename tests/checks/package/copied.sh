#!/usr/bin/env bash
# Copies the headers and compiles a program with them, without CMake.
#   copied.sh SOURCE_DIR COMPILER FLAGS...
set -eu
source=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cp -r "$source/include" "$work/third party"
"$@" -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$work/third party" \
  "$source/tests/checks/package/model.cpp" "$source/tests/checks/package/other.cpp" -o "$work/model"
"$work/model"
