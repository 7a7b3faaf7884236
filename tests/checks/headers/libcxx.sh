#!/usr/bin/env bash
# The umbrella headers compile with libc++, which lacks parts of libstdc++.
#   libcxx.sh INCLUDE_DIR [FLAGS...]
set -u
include=$1; shift
compiler=(clang++ -std=c++20 -stdlib=libc++ "$@" -x c++ -fsyntax-only -I"$include" -)
echo '#include <vector>' | "${compiler[@]}" 2>/dev/null || {
  echo 'SKIPPED: libc++ is not tested: no clang++ with libc++ (Debian: clang, libc++-dev)'
  exit 77
}
status=0
for header in policy plait io; do
  echo "#include <plait/$header.hpp>" | "${compiler[@]}" -Wall -Wextra -Werror ||
    { echo "plait/$header.hpp does not compile with libc++"; status=1; }
done
exit $status
