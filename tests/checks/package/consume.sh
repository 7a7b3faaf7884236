#!/usr/bin/env bash
# Configures, builds and runs a project that uses plait, with all warnings as errors; plait adds no
# flags and is not installed with the project.
#   consume.sh PROJECT_DIR GENERATOR COMPILER OPTIMIZATION CMAKE_ARGUMENTS...
set -u
project=$1 generator=$2 compiler=$3 optimization=$4; shift 4
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
flags="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror $optimization"
unset CMAKE_BUILD_TYPE CMAKE_PREFIX_PATH CXXFLAGS
run() { "$@" >"$work/log" 2>&1 || { tail -n 60 "$work/log"; echo "FAILED: $*"; exit 1; }; }
run cmake -S "$project" -B "$work/build" -G "$generator" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
run cmake --build "$work/build"
run ctest --test-dir "$work/build" --no-tests=error --output-on-failure
run cmake --install "$work/build" --prefix "$work/prefix"
[ -z "$(find "$work/prefix" -path '*plait*' 2>/dev/null)" ] ||
  { echo "plait is installed with the project: $(find "$work/prefix")"; exit 1; }
if [ -f "$work/build/compile_commands.json" ]; then  # of Ninja and make
  cmake -DFILE="$work/build/compile_commands.json" -DOWN="${flags// /;}" \
    -P "$(dirname "$0")/flags.cmake" || exit 1
fi
