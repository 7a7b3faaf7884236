#!/usr/bin/env bash
# snippets.sh reports every error of a page with its line, and passes a page without errors.
#   snippets_test.sh SNIPPETS COMPILER [FLAGS...]
set -u
snippets=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
status=0 number=0
# page STATUS SENTENCE <<PAGE: snippets.sh on a project with this page has this status and output.
page() {
  local project=$work/$((++number)) got=0
  mkdir -p "$project/docs/deep"
  cat >"$project/docs/deep/page.md"
  bash "$snippets" "$project" "${compiler[@]}" >"$project/log" 2>&1 || got=1
  if [ $got -ne "$1" ] || ! grep -qF -- "$2" "$project/log"; then
    echo "page $number: status $got, expected $1, with the sentence: $2"
    sed 's/^/  /' "$project/log"
    status=1
  fi
}
compiler=("$@")

page 0 '1 pages, 4 blocks' <<'X'
```cpp
inline constexpr auto config = plait::configs::jamba_v0_1;
```
```cpp body
int const layers = config.num_layers();
```
```cpp body
std::printf("%d layers\n", layers);
```
```cpp
int main() {}
```
```output
32 layers
```
```sh
not C++
```
X
page 1 'docs/deep/page.md:3' <<'X'
```cpp
int fine = 0;
int broken = "";
```
X
page 1 'docs/deep/page.md:3' <<'X'
# a program
```cpp
int main() { return "none"; }
```
X
page 1 'docs/deep/page.md:2:5: error: unused variable' <<'X'
```cpp body
int unused = 0;
```
X
page 1 'layers == 33' <<'X'
```cpp
static_assert(plait::count(plait::configs::jamba_v0_1).layers == 33);
```
X
page 1 '> 32 layers' <<'X'
```cpp body
std::printf("32 layers\n");
```
```output
33 layers
```
X
page 1 'does not run to its end' <<'X'
```cpp body
std::printf("stopping\n");
std::exit(1);
```
```output
stopping
```
X
page 1 'page.md:4: a block is marked "c++", expected' <<'X'
```cpp
int fine = 0;
```
```c++
int unseen = "";
```
X
page 1 'is not indented' <<'X'
```cpp
int fine = 0;
```
- a list
  ```cpp
  int unseen = "";
  ```
X
page 1 'a block does not end' <<'X'
```cpp
int fine = 0;
```
```cpp
int unseen = "";
X
page 1 'no blocks' <<'X'
A page of words in a project without blocks.
X
exit $status
