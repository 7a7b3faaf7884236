#!/usr/bin/env bash
# The table of docs/conformance.md equals the output of its script. Skipped without NumPy.
#   conformance.sh PROJECT_DIR PYTHON
set -u
for python in "${PLAIT_PYTHON:-$2}" /usr/bin/python3; do
  "$python" -c 'import numpy' 2>/dev/null &&
    exec "$python" "$1/tests/golden/scripts/conformance.py" --check "$1/docs/conformance.md"
done
echo "SKIPPED: docs/conformance.md is not measured again: no NumPy (Debian: python3-numpy)"
exit 77
