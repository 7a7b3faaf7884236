#!/usr/bin/env bash
# docs/single/plait-single.hpp is what the headers make, compiles without an include path, and counts as they do.
#   single.sh PROJECT_DIR PYTHON COMPILER
set -u
cd "$1" || exit 1
status=0
"$2" docs/single/amalgamate.py --check || status=1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cp docs/single/plait-single.hpp "$work"
cat >"$work/main.cpp" <<'CPP'
#include "plait-single.hpp"
static_assert(plait::count(plait::configs::jamba_v0_1).total_parameters == 51'570'323'328);
static_assert(plait::kv_cache_bytes(plait::configs::jamba_v0_1, 262'144, 2) == std::int64_t{4} << 30);
template struct plait::check<plait::configs::mixtral_8x7b>;
int main() {}
CPP
compilers=0
for compiler in "$3" g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  compilers=$((compilers + 1))
  "$compiler" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fsyntax-only "$work/main.cpp" || { echo "$compiler does not compile it"; status=1; }
done
[ $compilers -gt 0 ] || { echo 'no compiler'; status=1; }
exit $status
