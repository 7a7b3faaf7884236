#!/usr/bin/env bash
# Compares the output of programs with that of the first. Programs that this machine cannot run are
# left out; without two that run the test is skipped (77).
#   same_bits.sh PROGRAM PROGRAM...
set -u
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
first=$1 compared=0
for p in "$@"; do
  "$p" >"$work/$(basename "$p")"
  case $? in
    0) ;;
    77)
      echo "SKIPPED: the bits of $(basename "$p") are not compared: $(cat "$work/$(basename "$p")")"
      [ "$p" = "$first" ] && exit 77
      continue
      ;;
    *) echo "$p failed"; exit 1 ;;
  esac
  [ "$p" = "$first" ] && continue
  [ "$(wc -l <"$work/$(basename "$p")")" -gt 40000 ] ||
    { echo 'fewer than 40000 values'; exit 1; }
  cmp "$work/$(basename "$first")" "$work/$(basename "$p")" || exit 1
  echo "$(basename "$p"): the same $(wc -l <"$work/$(basename "$p")") values"
  compared=$((compared + 1))
done
[ "$compared" -gt 0 ] || exit 77
