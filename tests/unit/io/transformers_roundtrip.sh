#!/usr/bin/env bash
# Runs transformers_roundtrip.py with $PLAIT_PYTHON, by default the PYTHON given. Without torch and
# transformers the test is skipped; with PLAIT_REQUIRE_TRANSFORMERS=1 that is a failure.
#   transformers_roundtrip.sh PYTHON RESAVE DIRECTORY [RESAVE DIRECTORY]...
set -u
python=${PLAIT_PYTHON:-$1}; shift
missing() {
  echo "SKIPPED: what plait saves is not loaded by transformers: $1"
  [ "${PLAIT_REQUIRE_TRANSFORMERS:-0}" = 1 ] && exit 1
  exit 77
}
command -v "$python" >/dev/null || missing "$python does not exist"
reason=$("$python" -c 'import torch, transformers, safetensors' 2>&1) ||
  missing "$python: $(tail -n 1 <<<"$reason")"
exec "$python" "$(dirname "$0")/transformers_roundtrip.py" "$@"
