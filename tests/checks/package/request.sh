#!/usr/bin/env bash
# The targets and the errors of find_package(plait ...): with nlohmann-json, without it, and for a
# plait that is built without it.
#   request.sh SOURCE_DIR GENERATOR COMPILER PREFIX MAJOR MINOR PATCH CHECKPOINT
set -u
source=$1 generator=$2 compiler=$3 prefix=$4 major=$5 minor=$6 patch=$7 checkpoint=$8
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
unset CMAKE_PREFIX_PATH
failures=0
fail() { echo "FAILED: $*"; sed 's/^/  /' "$work/log"; failures=$((failures + 1)); }
configure() {
  local request=$1; shift
  rm -rf "$work/build"
  cmake -S "$source/tests/checks/package/request" -B "$work/build" -G "$generator" \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" -DREQUEST="$request" "$@" \
    >"$work/log" 2>&1
}
# gives "REQUEST" "TARGETS" ARGUMENTS...: the request succeeds and defines these targets.
gives() {
  local request=$1 targets=$2; shift 2
  configure "$request" "$@" &&
    [ "$(grep -oE 'there is .*' "$work/log" | cut -c10- | paste -sd' ')" = "$targets" ] ||
    fail "request \"$request\" $*: expected $targets"
}
# refuses "REQUEST" "SENTENCE" ARGUMENTS...: the request fails with this sentence (CMake breaks
# lines).
refuses() {
  local request=$1 sentence=$2; shift 2
  ! configure "$request" "$@" && tr -s ' \n' ' ' <"$work/log" | grep -qF -- "$sentence" ||
    fail "request \"$request\" $*: expected $sentence"
}
without_json=-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
all='plait::plait plait::io plait::plait-config'

gives '' "$all"
gives "$major.$minor" "$all"
gives "$major.$minor.$patch;EXACT" "$all"
gives 'COMPONENTS;io' "$all"
gives '' "$all" "-DCHECKPOINT=$checkpoint"
for version in "$major.$((minor + 1))" "$((major + 1)).0" "$major.$minor.$((patch + 1))"; do
  refuses "$version" "Could not find a configuration file for package \"plait\" that is $(
    )compatible with requested version \"$version\""
done
refuses 'COMPONENTS;gpu' 'plait has no component "gpu"; it has io and cuda.'
refuses '' 'has no config.json' "-DCHECKPOINT=$source"

gives '' 'plait::plait plait::plait-config' "$without_json"
gives 'OPTIONAL_COMPONENTS;io' 'plait::plait plait::plait-config' "$without_json"
refuses 'COMPONENTS;io' "plait's component io needs nlohmann-json 3.10 or newer (Debian: $(
  )nlohmann-json3-dev), which was not found." "$without_json"

# Eigen 5, whose package refuses a request for 3.4, and an Eigen that is too old.
eigen() {
  mkdir -p "$work/eigen/share/eigen3/cmake"
  echo 'if(NOT TARGET Eigen3::Eigen)
  add_library(Eigen3::Eigen INTERFACE IMPORTED)
endif()' >"$work/eigen/share/eigen3/cmake/Eigen3Config.cmake"
  echo "set(PACKAGE_VERSION $1)
if(NOT PACKAGE_FIND_VERSION OR PACKAGE_FIND_VERSION_MAJOR EQUAL ${1%%.*})
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()" >"$work/eigen/share/eigen3/cmake/Eigen3ConfigVersion.cmake"
}
in_front="-DCMAKE_PREFIX_PATH=$prefix;$work/eigen"
eigen 5.0.0 && gives '' "$all" "$in_front"
eigen 3.3.9 && refuses '' \
  'plait needs Eigen 3.4 or newer (Debian: libeigen3-dev), which was not found.' "$in_front"

# The component cuda is installed where the toolkit is found, and used on request alone.
if [ -e "$prefix/share/cmake/plait/plaitCudaTargets.cmake" ]; then
  gives 'COMPONENTS;cuda' 'plait::plait plait::cuda plait::plait-config'
  gives 'COMPONENTS;io;cuda' 'plait::plait plait::io plait::cuda plait::plait-config'
  refuses 'COMPONENTS;cuda' "plait's component cuda needs the CUDA toolkit 13.0 or newer with $(
    )cuBLAS, which was not found." -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON
fi

cmake -S "$source" -B "$work/bare" -G "$generator" -DCMAKE_CXX_COMPILER="$compiler" \
  "$without_json" -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON \
  -DCMAKE_DISABLE_FIND_PACKAGE_doctest=ON -DPLAIT_BENCHMARKS=OFF >"$work/log" 2>&1 &&
  cmake --install "$work/bare" --prefix "$work/bare prefix" >>"$work/log" 2>&1 ||
  fail 'plait cannot be installed without nlohmann-json'
prefix="$work/bare prefix"
gives '' 'plait::plait'
refuses 'COMPONENTS;io' 'plait was installed without its component io, for want of nlohmann-json.'
refuses 'COMPONENTS;cuda' \
  'plait was installed without its component cuda, for want of the CUDA toolkit.'
refuses '' 'there is no target plait::plait-config' "-DCHECKPOINT=$checkpoint"
[ $failures -eq 0 ]
