#!/usr/bin/env bash
# Configures, builds and runs a project that uses the installed component cuda, with nvcc's warnings
# as errors.
#   cuda.sh PROJECT_DIR GENERATOR NVCC ARCHITECTURES PREFIX
set -u
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
unset CMAKE_BUILD_TYPE CMAKE_PREFIX_PATH CXXFLAGS CUDAFLAGS
run() { "$@" >"$work/log" 2>&1 || { tail -n 60 "$work/log"; echo "FAILED: $*"; exit 1; }; }
[ -e "$5/share/cmake/plait/plaitCudaTargets.cmake" ] || { echo "$5 has no component cuda"; exit 1; }
run cmake -S "$1" -B "$work/build" -G "$2" -DCMAKE_CUDA_COMPILER="$3" \
  -DCMAKE_CUDA_ARCHITECTURES="$4" -DCMAKE_CUDA_FLAGS=-Werror=all-warnings -DCMAKE_PREFIX_PATH="$5"
run cmake --build "$work/build"
run ctest --test-dir "$work/build" --no-tests=error --output-on-failure
