#!/usr/bin/env bash
# Every ```cpp block of the documents compiles without warnings, and the output of a page's program
# is that of its output blocks. docs/CONTRIBUTING.md has the format.
#   snippets.sh PROJECT_DIR COMPILER [FLAGS...]
# FLAGS find plait and its libraries. Pages are PROJECT_DIR's README.md, docs/**.md,
# benchmarks/README.md and examples/**/README.md.
set -u
cd "$1" || exit 1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
pages=$(find README.md docs benchmarks/README.md examples \
  \( -path 'docs/*.md' -o -name README.md \) -type f 2>/dev/null | sort)

# Splits a page into DIR/unit.cpp (blocks at namespace scope), DIR/body.cpp (statements),
# DIR/program.N.cpp and DIR/output, with a #line per block; prints violations of the format.
take_apart() {
  awk -v page="$1" -v dir="$2" '
    function say(sentence) { print page ":" FNR ": " sentence }
    function block_to(file) {
      printf "#line %d \"%s\"\n%s", first, page, text >> file
      close(file)
    }
    !inside && /^[ \t]+```/ && /```[ \t]*[cC]/ { say("a block is not indented"); next }
    !inside && /^```/ {
      inside = 1
      kind = substr($0, 4)
      text = ""
      first = FNR + 1
      if (kind ~ /^`/) say("a block begins with three backticks")
      if (kind ~ /^([cC]\+\+|[cC][cC]|[cC][xX][xX]|[hH]pp|CPP|Cpp)/ ||
          (kind ~ /^cpp/ && kind != "cpp" && kind != "cpp body" && kind != "cpp signature") ||
          (kind ~ /^output/ && kind != "output"))
        say("a block is marked \"" kind "\", expected cpp, cpp body, cpp signature, output, " \
            "or another language")
      next
    }
    inside && /^```[ \t]*$/ {
      inside = 0
      if (kind == "output") { printf "%s", text >> (dir "/output"); close(dir "/output") }
      else if (kind == "cpp body") block_to(dir "/body.cpp")
      else if (kind == "cpp" && text ~ /(^|\n)int main\(/)
        block_to(dir "/program." ++programs ".cpp")
      else if (kind == "cpp") block_to(dir "/unit.cpp")
      next
    }
    inside { text = text $0 "\n" }
    END { if (inside) say("a block does not end") }' "$1"
}

# compiles COMPILER [FLAGS...]: prints the compiler's messages, or that it failed without any.
compiles() {
  local log failed=
  log=$("$@" 2>&1) || failed="$page: does not compile"
  [ -z "$log$failed" ] || head -n 12 <<<"${log:-$failed}"
  [ -z "$failed" ]
}

# check PAGE DIR COMPILER [FLAGS...]
check() {
  local page=$1 dir=$2 program; shift 2
  mkdir -p "$dir"
  take_apart "$page" "$dir"
  for program in "$dir"/program.*.cpp; do
    [ -e "$program" ] || continue
    if grep -qE '#include <(benchmark/|plait/benchmark\.hpp>)' "$program" &&
      ! echo '#include <benchmark/benchmark.h>' | "$@" -x c++ -fsyntax-only - 2>/dev/null; then
      echo "SKIPPED: a program of $page needs Google Benchmark" >>"$work/skipped"
    else
      compiles "$@" -fsyntax-only "$program"
    fi
  done
  if [ -e "$dir/unit.cpp" ] || [ -e "$dir/body.cpp" ]; then
    {
      printf '#include <plait/io.hpp>\n#include <plait/plait.hpp>\n'
      [ ! -e "$dir/unit.cpp" ] || cat "$dir/unit.cpp"
      [ ! -e "$dir/body.cpp" ] || { echo 'int main() {'; cat "$dir/body.cpp"; echo '}'; }
    } >"$dir/page.cpp"
    if [ ! -e "$dir/output" ]; then
      compiles "$@" -fsyntax-only "$dir/page.cpp"
    elif compiles "$@" -O1 "$dir/page.cpp" -o "$dir/page"; then
      # In a directory of its own, as it may write files.
      (cd "$dir" && mkdir run && cd run && timeout 120 ../page >../printed 2>&1) ||
        echo "$page: its program does not run to its end: $(tail -n 3 "$dir/printed")"
      diff "$dir/output" "$dir/printed" >"$dir/log" || {
        echo "$page: its program prints (>) other lines than its output blocks (<):"
        head -n 12 "$dir/log"
      }
    fi
  elif [ -e "$dir/output" ]; then
    echo "$page: has output, and no program that prints it"
  fi
}
one() {
  local dir; dir=$work/$(tr '/ ' __ <<<"$1")
  check "$1" "$dir" "${@:2}" >"$dir.problems" 2>&1
  cat "$dir.problems"
}
export -f take_apart compiles check one; export work
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
problems=$(echo "$pages" |
  xargs -P "$(nproc)" -I{} bash -c 'one "$@"' _ {} "$@" "${warnings[@]}")
# shellcheck disable=SC2086  # several pages
blocks=$(cat $pages | grep -cE '^```cpp( body)?$')
echo "$(wc -l <<<"$pages") pages, $blocks blocks"
cat "$work/skipped" 2>/dev/null
[ "$blocks" -gt 0 ] || problems="no blocks in $PWD"
if [ -n "$problems" ]; then echo "$problems"; exit 1; fi
