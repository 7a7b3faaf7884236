#!/usr/bin/env bash
# Prints why tests were left out, in whole or in part: their lines "SKIPPED: SENTENCE" and doctest's
# counts. A test that was skipped without a sentence is an error.
#   skips.sh LAST_TEST_LOG CTEST_OUTPUT
set -u
skipped=$(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+) .*\*\*\*Skipped.*/\1/p' "$2")
awk -v skipped="$skipped" '
  BEGIN { count = split(skipped, silent, "\n") }
  /^[0-9]+\/[0-9]+ Testing: / { name = $3 }
  /^SKIPPED: |MESSAGE: SKIPPED: / { sub(/^.*SKIPPED: /, ""); reasons[$0] = 1; said[name] = 1 }
  /^\[doctest\].* skipped/ && !/\| +0 skipped/ { reasons[name ": " $0] = 1; said[name] = 1 }
  END {
    for (reason in reasons) print "skipped: " reason | "sort"
    close("sort")
    for (i = 1; i <= count; ++i)
      if (!(silent[i] in said)) {
        print silent[i] " was skipped without a line \"SKIPPED: SENTENCE\""
        bad = 1
      }
    exit bad
  }' "$1"
