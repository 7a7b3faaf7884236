#!/usr/bin/env bash
# Limits of the cost of compiling plait: the policies with a count, and a model, without and with
# further flags (those of this machine).
#   budget.sh MEASURE FURTHER_FLAGS COMPILER [FLAGS...]
set -u
measure=$1 further=$2; shift 2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cat >"$work/policies.cpp" <<'END'
#include <plait/policy.hpp>
static_assert(plait::count(plait::configs::jamba_v0_1).layers == 32);
END
cat >"$work/model.cpp" <<'END'
#include <plait/plait.hpp>
template class plait::model<plait::configs::jamba_v0_1>;
END
status=0
"$measure" 'policies and a count' 0.5 1500 -- \
  "$@" -c "$work/policies.cpp" -o "$work/policies.o" || status=1
model() {
  "$measure" "$1" 15 1500 --object "$work/model.o" 400 -- \
    "${@:2}" -c "$work/model.cpp" -o "$work/model.o" || status=1
}
model 'model<jamba_v0_1> -O2' "$@" -O2
# shellcheck disable=SC2086  # several flags
if [ -n "$further" ]; then model "model<jamba_v0_1> -O2 $further" "$@" -O2 $further; fi
exit $status
