#!/usr/bin/env bash
# benchmarks/plot.py reads what Google Benchmark writes: the table, the curves' crossing, what it refuses. Pictures only where there is matplotlib.
#   plot_test.sh PLOT_PY PYTHON
set -u
plot=$1 python=$2 status=0
command -v "$python" >/dev/null || { echo "SKIPPED: no Python"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
complain() { echo "$@"; status=1; }
# entry NAME TOKENS_A_SECOND [FURTHER]
entry() {
  echo "{\"name\": \"$1/manual_time\", \"run_name\": \"$1/manual_time\", \"run_type\": \"iteration\", \"label\": \"\", \"tokens/s\": $2, \"GFLOP/s\": 100.0, \"GB/s\": 10.0, \"roofline_%\": 50.0, \"peak_GFLOP/s\": 200.0, \"peak_GB/s\": 40.0, \"parameters\": 1000, \"active_parameters\": 500, \"state_bytes\": 64, \"kv_bytes\": 5120${3:-}},"
}
file() { printf '{"context": {}, "benchmarks": [%s]}' "$(sed '$ s/,$//')"; }
{
  entry sweep/a1m7e2n8K2/f32/tokens:512/context:0/threads:2/weights:cold/routing:random 100
  entry sweep/a1m7e2n8K2/f32/tokens:512/context:0/threads:2/weights:cold/routing:random 300
  entry sweep/a1m7e2n8K2/f32/tokens:512/context:0/threads:2/weights:cold/routing:random 200
  entry sweep/a1m7e2n8K2/f32/tokens:1/context:0/threads:2/weights:cold/routing:random 20
  entry context/a1m0e2n8K2/f32/tokens:1/context:1024/threads:2/weights:warm/routing:random 40
  entry context/a1m0e2n8K2/f32/tokens:1/context:4096/threads:2/weights:warm/routing:random 10
  entry context/a0m1e2n8K2/f32/tokens:1/context:1024/threads:2/weights:warm/routing:random 20
  entry context/a0m1e2n8K2/f32/tokens:1/context:4096/threads:2/weights:warm/routing:random 20
  entry wrong/f32/tokens:1/threads:2/weights:warm 20 ', "error_occurred": true, "error_message": "the result is off"'
} | file >"$work/result.json"
expected='a,m,e,n,K,precision,threads,parameters,active_parameters,state_bytes,kv_bytes_a_token,prefill_512_tokens/s,decode_tokens/s'
table=$("$python" "$plot" table "$work/result.json" 2>"$work/said") || complain 'table fails'
[ "$(head -n 1 <<<"$table")" = "$expected" ] || complain "the header is: $(head -n 1 <<<"$table")"
[ "$(tail -n +2 <<<"$table")" = '1,7,2,8,2,f32,2,1000,500,64,5120,200,20' ] || complain "the row is: $(tail -n +2 <<<"$table")"
grep -q 'wrong/f32.* is left out: the result is off' "$work/said" || complain 'an error is passed over in silence'
echo nothing >"$work/nothing.json"
"$python" "$plot" table "$work/nothing.json" 2>"$work/said" && complain 'no JSON is read'
grep -q 'nothing.json: not a result of' "$work/said" || complain 'no JSON has no sentence'
if "$python" -c 'import matplotlib' 2>/dev/null; then
  "$python" "$plot" roofline "$work/result.json" -o "$work/roofline.svg" >/dev/null 2>&1 && [ -s "$work/roofline.svg" ] || complain 'no roofline'
  # 40 falls to 10 while the other stays at 20: half-way in logarithms
  "$python" "$plot" curves "$work/result.json" -o "$work/curves.png" --only '^context/' 2>/dev/null |
    grep -q 'decode: from a context of 2048 on, context/a0m1.* is faster than context/a1m0' || complain 'no crossing'
  [ -s "$work/curves.png" ] || complain 'no curves'
else
  echo 'SKIPPED: no picture is drawn: no matplotlib (Debian: python3-matplotlib)'
fi
exit $status
