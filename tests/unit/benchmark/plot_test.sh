#!/usr/bin/env bash
# benchmarks/plot.py reads what Google Benchmark writes: the table, the curves' crossing, what it refuses, what is in its pictures.
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
expected='a,m,e,n,K,precision,threads,parameters,active_parameters,state_bytes,kv_bytes_per_token,prefill_512_tokens/s,decode_tokens/s'
table=$("$python" "$plot" table "$work/result.json" 2>"$work/said") || complain 'table fails'
[ "$(head -n 1 <<<"$table")" = "$expected" ] || complain "the header is: $(head -n 1 <<<"$table")"
[ "$(tail -n +2 <<<"$table")" = '1,7,2,8,2,f32,2,1000,500,64,5120,200,20' ] || complain "the row is: $(tail -n +2 <<<"$table")"
grep -q 'wrong/f32.* is left out: the result is off' "$work/said" || complain 'an error is passed over in silence'
echo nothing >"$work/nothing.json"
"$python" "$plot" table "$work/nothing.json" 2>"$work/said" && complain 'no JSON is read'
grep -q 'nothing.json: not a result of' "$work/said" || complain 'no JSON has no sentence'
"$python" "$plot" roofline "$work/result.json" -o "$work/roofline.svg" >/dev/null 2>&1 || complain 'no roofline'
# a roof for each precision and number of threads; a point for each benchmark, and the legend's
[ "$(grep -c '200 GFLOP/s, 40 GB/s' "$work/roofline.svg")" = 1 ] || complain 'the roofline has another roof'
[ "$(grep -c '<title>.*: 100 GFLOP/s, 50 %' "$work/roofline.svg")" = 6 ] || complain 'the roofline has not six points'
# 40 falls to 10 while the other stays at 20: half-way in logarithms
"$python" "$plot" curves "$work/result.json" -o "$work/curves.svg" --only '^context/' 2>/dev/null |
  grep -q 'decode: from a context of 2048 on, context/a0m1.* is faster than context/a1m0' || complain 'no crossing'
grep -q '<title>attention only, 4K: 10 tokens/s</title>' "$work/curves.svg" || complain 'the curves lack a point'
grep -q '>Mamba only</text>' "$work/curves.svg" || complain 'a curve has no name'
"$python" -c 'import sys, xml.dom.minidom as x; [x.parse(f) for f in sys.argv[1:]]' "$work"/*.svg || complain 'a picture is not XML'
"$python" "$plot" curves "$work/result.json" -o "$work/curves.png" 2>"$work/said" && complain 'a picture that is none is written'
grep -q 'curves.png: pictures are written as .svg' "$work/said" || complain 'another format has no sentence'
cat >"$work/peers.json" <<'X'
{"summary": [{"what": "decode", "tokens": null, "context": 2048, "sequences": 1, "plait": "bf16,compute:bf16", "peer": "llama.cpp",
  "peer_precision": "bf16", "plait_tokens_per_second": {"median": 80.0}, "ratio": {"median": 1.25}}],
 "measurements": [{"what": "bits"}, {"what": "conv_silu", "threads": 2, "plait_ns": 0.5, "peer_ns": 4.0, "ratio": 8.0}]}
X
"$python" "$plot" peers "$work/peers.json" -o "$work/peers.svg" >/dev/null &&
  grep -q '<title>decode at 2,048, bf16-dot: 80 tokens/s, 1.25x llama.cpp bf16</title>' "$work/peers.svg" || complain 'no peer'
"$python" "$plot" scan "$work/peers.json" -o "$work/scan.svg" >/dev/null && grep -q '>0.5, 8 times faster<' "$work/scan.svg" || complain 'no scan'
exit $status
