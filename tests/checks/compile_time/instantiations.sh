#!/usr/bin/env bash
# One instantiation per kind of layer: 8, 32 and 72 layers of one pattern define the same functions
# and variables, and the objects differ by a table of one line per layer.
#   instantiations.sh NM COMPILER [FLAGS...]
set -u
nm=$1; shift
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
one() {
  local blocks=$1 o=$2 places; shift 2
  echo "#include <plait/plait.hpp>
static_assert(plait::plan<plait::configs::jamba<8, 1, 7, 2, 16, 2, $blocks>>::layers ==
              8 * $blocks);
template class plait::model<plait::configs::jamba<8, 1, 7, 2, 16, 2, $blocks>>;" >"$work/model.cpp"
  "$@" "-O$o" -c "$work/model.cpp" -o "$work/$blocks.o" || exit 1
  # Defined symbols with their kinds; names without the number of blocks (before l, a and m) and the
  # length of the table.
  places=$((8 * blocks + 1))
  "$nm" --defined-only "$work/$blocks.o" | awk '{ print $(NF - 1), $NF }' |
    sed -E "s/Li${blocks}E(Li8ELi1ELi7E)/Li*E\1/g; s/layer_placeELm${places}E/layer_placeELm*E/g
      s/refERA${places}_/refERA*_/g" |
    sort >"$work/$blocks.names"
}
status=0
for o in 0 2; do
  for blocks in 1 4 9; do one $blocks $o "$@"; done
  functions=$(grep -c '^[TWt] ' "$work/4.names") base=$(wc -c <"$work/4.o")
  echo "-O$o: 8, 32, 72 layers: $(wc -l <"$work/1.names"), $(wc -l <"$work/4.names")," \
    "$(wc -l <"$work/9.names") symbols, $functions of them functions; objects of" \
    "$(wc -c <"$work/1.o"), $base, $(wc -c <"$work/9.o") bytes"
  if [ "$functions" -lt 50 ]; then echo 'fewer than 50 functions'; status=1; fi
  for blocks in 1 9; do
    if ! cmp -s "$work/4.names" "$work/$blocks.names"; then
      echo "$((8 * blocks)) layers define other symbols than 32:"
      diff "$work/4.names" "$work/$blocks.names" | cut -c1-300 | head -4
      status=1
    fi
    size=$(wc -c <"$work/$blocks.o")
    if [ $((size > base ? size - base : base - size)) -gt $((base / 50)) ]; then
      echo 'the objects differ by more than 2 %'
      status=1
    fi
  done
done
exit $status
