#!/usr/bin/env bash
# Installs a build, moves it, and checks its files.
#   install.sh BUILD_DIR CONFIG SOURCE_DIR PREFIX
set -u
build=$1 config=$2 source=$3 prefix=$4
rm -rf "$prefix" "$prefix before"
cmake --install "$build" --config "$config" --prefix "$prefix before" >/dev/null || exit 1
mv "$prefix before" "$prefix" || exit 1
cd "$prefix" || exit 1
status=0
fail() { echo "$*"; status=1; }
cuda=''
grep -q '^CUDAToolkit_NVCC_EXECUTABLE:[^=]*=.*nvcc' "$build/CMakeCache.txt" &&
  cuda=$'share/cmake/plait/plaitCudaTargets.cmake\n'
diff -r "$source/include" include || fail 'the installed headers are not include/'
expected="bin/plait-config
share/cmake/plait/PlaitAddArchitecture.cmake
share/cmake/plait/plaitConfig.cmake
share/cmake/plait/plaitConfigVersion.cmake
${cuda}share/cmake/plait/plaitIoTargets.cmake
share/cmake/plait/plaitTargets-CONFIG.cmake
share/cmake/plait/plaitTargets.cmake
share/doc/plait/LICENSE"
diff <(echo "$expected" | sed "s/CONFIG/${config,,}/") \
  <(find . -type f ! -path './include/*' | sed 's|^\./||' | LC_ALL=C sort) ||
  fail 'other files are installed than expected'
grep -rnF -e "$build" -e "$source" -e "$prefix" share/cmake &&
  fail 'the package names a directory of the build'
flags='INTERFACE_(COMPILE_(OPTIONS|DEFINITIONS)|LINK_OPTIONS|PRECOMPILE|SOURCES)'
grep -rnE "$flags" share/cmake |
  grep -v 'plaitCudaTargets.cmake:[0-9]*:  INTERFACE_COMPILE_OPTIONS' &&
  fail 'the package has flags'
standard='INTERFACE_COMPILE_FEATURES "cxx_std_20"'
[ "$(grep -c "$standard" share/cmake/plait/plaitTargets.cmake)" -eq 1 ] ||
  fail 'the package does not ask for C++20'
exit $status
