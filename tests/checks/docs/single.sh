#!/usr/bin/env bash
# docs/single/plait-single.hpp is made of the current headers, compiles without an include path, and
# gives the same counts.
#   single.sh PROJECT_DIR PYTHON COMPILER
set -u
cd "$1" || exit 1
status=0
"$2" docs/single/amalgamate.py --check || status=1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cp docs/single/plait-single.hpp "$work"
cat >"$work/main.cpp" <<'CPP'
#include "plait-single.hpp"
using namespace plait;
static_assert(count(configs::jamba_v0_1).total_parameters == 51'570'323'328);
static_assert(kv_cache_bytes(configs::jamba_v0_1, 262'144, 2) == std::int64_t{4} << 30);
template struct plait::check<configs::mixtral_8x7b>;
int main() {}
CPP
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
compilers=0
for compiler in "$3" g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  compilers=$((compilers + 1))
  "$compiler" -std=c++20 "${warnings[@]}" -fsyntax-only "$work/main.cpp" ||
    { echo "$compiler does not compile it"; status=1; }
done
[ $compilers -gt 0 ] || { echo 'no compiler'; status=1; }
exit $status
