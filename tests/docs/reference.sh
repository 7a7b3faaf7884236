#!/usr/bin/env bash
# docs/reference says of every public header what is true of it, as far as a program can tell.
#   reference.sh PROJECT_DIR
#
# A page stands for a folder of include/plait (README.md for the headers in the root), a section "## PATH" for a header. In a section
#   - names: ...             every identifier in its code spans occurs in the header's code, and every name the header declares at
#                            namespace scope (outside of detail and policies) occurs in them
#   - error: `...` - ...     the parts of the sentence between ellipses occur in the header's string literals; and every sentence that the
#                            header throws, or asserts beginning with "plait:", stands in such an item
#   - test: `FILE` ...       the files exist
# and links lead to pages and sections that are there.
set -u
cd "$1" || exit 1
include=include/plait pages=docs/reference status=0
complain() { echo "$@"; status=1; }

page_of() { case $1 in ops/cpu/*) echo ops_cpu.md ;; ops/cuda/*) echo cuda.md ;; */*) echo "${1%%/*}.md" ;; *) echo README.md ;; esac; }
heading_of() { case $1 in ops/cpu/* | ops/cuda/*) echo "${1#ops/c*/}" ;; */*) echo "${1#*/}" ;; *) echo "$1" ;; esac; }

read -r -d '' check <<'AWK'
function say(text) { print page ", " heading ": " text; bad = 1 }
function trim(s) { gsub(/^ +| +$/, "", s); return s }
# Two slashes inside a string are no comment.
function without_comment(line, at, before) {
  at = 0
  while ((before = index(substr(line, at + 1), "//")) > 0) {
    at += before
    before = substr(line, 1, at - 1)
    if (gsub(/"/, "", before) % 2 == 0) return substr(line, 1, at - 1)
  }
  return line
}
# The code spans of an item: every second piece between backquotes.
function spans(text, into, n, i, part) {
  n = split(text, part, "`")
  for (i = 2; i <= n; i += 2) into[i / 2] = part[i]
  return int(n / 2)
}
function words(text, into, n, i, part) {
  n = split(text, part, /[^A-Za-z0-9_]+/)
  for (i = 1; i <= n; ++i) if (part[i] ~ /^[A-Za-z_]/) into[part[i]] = 1
}
function finish(n, i, j, k, m, part, span, in_span) {
  if (item == "") return
  n = spans(item, span)
  if (item ~ /^- names:/) {
    names = names " " item
    for (i = 1; i <= n; ++i) {
      split("", in_span)
      words(span[i], in_span)
      for (w in in_span) if (!(w in code)) say("`" w "` is not a name of the header")
    }
  } else if (item ~ /^- error:/) {
    if (n < 1) say("an error without a sentence: " item)
    errors = errors "\n" span[1]
    m = split(span[1], part, "…")
    k = 0
    for (i = 1; i <= m; ++i) {
      part[i] = trim(part[i])
      if (part[i] == "") continue
      k += length(part[i])
      if (index(literals, part[i]) == 0) say("the header does not say \"" part[i] "\"")
    }
    if (k < 6) say("too little of a sentence: " item)
  } else if (item ~ /^- test:/) {
    for (i = 1; i <= n; ++i) if (span[i] ~ /\//) print "file " span[i]
    tests = 1
  }
  item = ""
}
FNR == NR {
  if (/^namespace (detail|policies) \{/) inner = 1
  if (/^\}  \/\/ namespace/) inner = 0
  gsub(/'\\?"'/, "")
  gsub(/\\"/, "\001")
  $0 = without_comment($0)
  if (/^#include/) next
  if (!inner && match($0, /^(class|struct|enum class) [A-Za-z_0-9]+( |$)/)) {
    split($0, part, " ")
    declared[part[1] == "enum" ? part[3] : part[2]] = 1
  }
  if (!inner && /^[a-z]/ && !/^(requires|static_assert|template|using|return)/ && match($0, /^[A-Za-z_:<>0-9, &*]+[ &*][a-z_0-9]+\(/)) {
    name = substr($0, RSTART, RLENGTH - 1)
    sub(/.*[ *&]/, "", name)
    declared[name] = 1
  }
  if (!inner && match($0, /^using [a-z_0-9]+ =/)) declared[substr($0, 7, RLENGTH - 8)] = 1
  if (!inner && match($0, /^inline constexpr [a-z_0-9:<>, ]+[ >]([a-z_0-9]+)(\[\])?( =|\{|;)/)) {
    name = substr($0, RSTART, RLENGTH)
    sub(/(\[\])?( =|\{|;)$/, "", name)
    sub(/.* /, "", name)
    declared[name] = 1
  }
  if (match($0, /^#define [A-Z_]+[A-Z](\(|$| )/)) {
    name = substr($0, 9, RLENGTH - 8)
    sub(/[( ].*/, "", name)
    declared[name] = 1
  }
  words($0, code)
  source = source " " trim($0)
  next
}
FNR == 1 {
  while (gsub(/" +"/, "", source)) {}
  n = split(source, piece, "\"")
  source = piece[1]
  for (i = 2; i <= n; ++i) {
    if (i % 2 == 0) literals = literals "\n" piece[i]
    if (i % 2 == 0) gsub(/;/, "\002", piece[i])  # statements end outside of strings
    source = source "\"" piece[i]
  }
  gsub(/\001/, "\"", literals)
}
/^```/ { finish(); fence = !fence; next }
fence { next }
/^## / { finish(); inside = $0 == "## " heading; if (inside) ++found; next }
!inside { next }
/^- / { finish(); item = $0; next }
/^  / && item != "" { item = item " " trim($0); next }
{ finish() }
END {
  finish()
  if (found != 1) { say(found ? "has several sections" : "has no section"); exit 1 }
  if (names == "") say("has no names")
  if (!tests) say("has no test")
  split("", in_span)
  words(names, in_span)
  for (w in declared) if (!(w in in_span)) say("does not name `" w "`")
  # Every statement that throws: its longest literal. Every literal that begins with "plait: ".
  n = split(source, statement, ";")
  for (i = 1; i <= n; ++i) {
    if (statement[i] !~ /(throw error|[^a-z_]fail|refuse)\(/) continue
    m = split(statement[i], piece, "\"")
    longest = ""
    for (j = 2; j <= m; j += 2) if (length(piece[j]) > length(longest)) longest = piece[j]
    gsub(/\001/, "\"", longest)
    gsub(/\002/, ";", longest)
    if (length(longest) > 9 && index(errors, trim(longest)) == 0) say("does not quote the sentence \"" longest "\"")
  }
  n = split(literals, piece, "\n")
  for (i = 1; i <= n; ++i)
    if (piece[i] ~ /^plait: ./ && index(errors, trim(piece[i])) == 0) say("does not quote the sentence \"" piece[i] "\"")
  exit bad
}
AWK

headers=$(cd "$include" && find . -name '*.hpp' -o -name '*.cuh' | sed 's|^\./||' | sort)
for header in $headers; do
  page=$(page_of "$header") heading=$(heading_of "$header")
  [ -e "$pages/$page" ] || { complain "$pages/$page does not exist, and $header needs a section there"; continue; }
  while read -r kind rest; do
    if [ "$kind" != file ]; then complain "$kind $rest"
    elif [ ! -e "$rest" ]; then complain "$page, $heading: the test $rest does not exist"; fi
  done < <(awk -v page="$page" -v heading="$heading" "$check" "$include/$header" "$pages/$page")
done
# No section without a header.
for page in "$pages"/*.md; do
  name=${page##*/} folder=$(basename "$page" .md)
  case $name in README.md) folder=. ;; ops_cpu.md) folder=ops/cpu ;; cuda.md) folder=ops/cuda ;; esac
  while read -r heading; do
    [ -e "$include/$folder/$heading" ] || complain "$name has a section on $heading, which does not exist"
  done < <(sed -n 's/^## \(.*\.\(hpp\|cuh\)\)$/\1/p' "$page")
  grep -q "]($name)" "$pages/README.md" || [ "$name" = README.md ] || complain "README.md does not link to $name"
  while IFS='#' read -r target anchor; do
    target=$pages/${target:-$name}
    if [ ! -e "$target" ]; then complain "$name links to $target, which does not exist"
    elif [ -n "$anchor" ] && ! sed -n 's/^## //p' "$target" | tr -d './' | grep -qx "$anchor"; then
      complain "$name links to $target#$anchor, where no such section is"
    fi
  done < <(grep -oE '\]\([^): ]+\)' "$page" | sed -E 's/\]\((.*)\)/\1/' | sort -u)
done
echo "$(wc -w <<<"$headers") headers"
exit $status
