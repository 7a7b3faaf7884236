#!/usr/bin/env bash
# The pictures of the documents equal the output of their programs, from the configurations and the
# committed results.
#   pictures.sh PROJECT_DIR LAYER_STRIP PYTHON
set -u
cd "$1" || exit 1
status=0
"$2" | cmp - docs/pictures/jamba_v0_1.svg || {
  echo 'docs/pictures/jamba_v0_1.svg is not the output of examples/layer_strip'
  status=1
}
"$3" benchmarks/plot.py documents --check || status=1
for picture in docs/pictures/*.svg; do
  grep -rq "${picture##*/}" README.md docs --include='*.md' || {
    echo "no document shows $picture"
    status=1
  }
done
exit $status
