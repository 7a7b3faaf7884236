#!/usr/bin/env bash
# Peers of the GPU benchmarks without a device: the errors of peers.py, the ratios of run.sh from
# given times, and runs whose peers fail.
#   peers.sh BENCHMARKS_GPU_DIR
set -u
source=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
fail() { echo "$*"; status=1; }
# expect WHAT TEXT...: the output contains each TEXT.
expect() {
  local what=$1; shift
  for text; do
    grep -qF -e "$text" <<<"$output" || fail "$what: no \"$text\" in"$'\n'"$output"
  done
}
# never WHAT TEXT: the output does not contain TEXT.
never() { if grep -F -e "$2" <<<"$output"; then fail "$1: \"$2\" is printed"; fi; }
# exited WHAT STATUS EXPECTED
exited() { [ "$2" -eq "$3" ] || fail "$1: status $2 instead of $3"$'\n'"$output"; }
export PYTHONDONTWRITEBYTECODE=1
unset PEERS PLAIT_PYTHON

for file in peers build_peer; do
  python3 -c "compile(open('$source/$file.py').read(), '$file.py', 'exec')" ||
    fail "$file.py is not valid Python"
done
# A Python without torch, and one whose torch has no device.
mkdir -p "$dir/without" "$dir/no_device/torch/nn"
echo 'raise ImportError("no torch")' >"$dir/without/torch.py"
printf 'from . import cuda\n' >"$dir/no_device/torch/__init__.py"
printf 'def is_available(): return False\n' >"$dir/no_device/torch/cuda.py"
touch "$dir/no_device/torch/nn/__init__.py" "$dir/no_device/torch/nn/functional.py"
# skipped PYTHONPATH PART SENTENCE: peers.py prints the sentence and exits with 77.
skipped() {
  output=$(PYTHONPATH=$1 python3 "$source/peers.py" "$2" 2>&1)
  exited "$2, expected \"$3\"" $? 77
  [ "$output" = "$3" ] || fail "$2: \"$output\", expected \"$3\""
}
parts=$(PYTHONPATH=$dir/without python3 "$source/peers.py" cases | cut -f 1 | uniq)
for part in $parts versions; do
  skipped "$dir/without" "$part" 'torch is not installed'
  skipped "$dir/no_device" "$part" 'there is no CUDA device'
done
output=$(python3 "$source/peers.py" nonsense 2>&1); exited 'an unknown part' $? 2
# Sources of another version than build_peer.py expects.
scan=$dir/sdist/mamba_ssm-9.9/csrc/selective_scan
mkdir -p "$scan"
echo 'int x;' | tee "$scan/selective_scan.cpp" >"$scan/selective_scan_fwd_bf16.cu"
tar -czf "$dir/mamba_ssm-9.9.tar.gz" -C "$dir/sdist" mamba_ssm-9.9
output=$(PEERS=$dir PYTHONPATH=$dir/no_device \
  python3 "$source/build_peer.py" mamba-ssm "$dir/peers" 2>&1)
exited 'another version' $? 1
expect 'another version' "mamba-ssm is left out: selective_scan_fwd_bf16.cu instantiates nothing $(
  )for <at::BFloat16, float>"

# Ratios: two peers of one case, a case measured twice, cases of one side alone, a part without
# peers, a torn line.
mkdir "$dir/build"
run() { output=$(bash "$source/run.sh" "$dir/build" "$@" 2>&1); }
run ratios; exited 'no times' $? 0; expect 'no times' 'nothing was timed'
printf '%s\t%s\t%s\t%s\n' \
  scan 'scan of 8192' 999.000 plait \
  scan 'scan of 8192' 250.000 plait \
  scan 'scan of 8192' 1000.000 'mamba-ssm 2.3.2' \
  scan 'scan of 8192' 500.000 'another 1.0' \
  scan 'scan of 32768' 70.500 plait \
  state 'state of 64' 12.000 'mamba-ssm 2.3.2' \
  decode_1 'decode step' 4000.000 plait \
  norms 'norm of 1' 0.000 plait >"$dir/build/times"
echo 'torn lin' >>"$dir/build/times"
run ratios; exited 'ratios' $? 0
squeezed=$(tr -s ' ' <<<"$output" | sed -n '/^| scan\|^| state/p')
[ "$squeezed" = '| scan of 8192 | 250.0 | 1000.0 | 0.250 | mamba-ssm 2.3.2 |
| scan of 8192 | 250.0 | 500.0 | 0.500 | another 1.0 |
| scan of 32768 | 70.5 | - | - | no peer |
| state of 64 | - | 12.0 | - | mamba-ssm 2.3.2 |' ] || fail $'ratios:\n'"$output"
for text in 'decode step' 'norm of 1' 'torn'; do never 'ratios' "$text"; done
printf 'scan\tscan of 8192\t250.000\tplait\n' >"$dir/build/times"
run ratios; exited 'no peer' $? 0; expect 'no peer' 'no peer was timed'

# Runs with stand-ins: one peer measures, one fails, one is killed; then without Python, and with
# PEERS=none.
rm "$dir/build/times"
cat >"$dir/build/gpu_ops" <<'END'
#!/usr/bin/env bash
echo "| ours, $1 |"
printf '%s\tcase of %s\t10.000\tplait\n' "$1" "$1" >>"$PLAIT_TIMES"
END
cat >"$dir/python" <<'END'
#!/usr/bin/env bash
case $2 in
  versions) echo 'torch of the test' ;;
  scan) echo '| theirs |'; printf '%s\tcase of %s\t40.000\tpeer 1\n' "$2" "$2" >>"$PLAIT_TIMES" ;;
  state) echo 'a peer says why'; exit 1 ;;
  norms) echo 'a traceback' >&2; kill -9 $$ ;;
esac
END
chmod +x "$dir/build/gpu_ops" "$dir/python"
PLAIT_PYTHON=$dir/python run copy scan state norms ratios; exited 'peers that fail' $? 0
expect 'peers that fail' 'peers: torch of the test' '| theirs |' 'a peer says why' \
  'peers of state: not all of them (1)' 'a traceback' 'peers of norms: not all of them (137)' \
  '| ours, norms |' 'no peer'
grep -q '| case of scan *| *10.0 | *40.0 | *0.250 | peer 1 |' <<<"$output" ||
  fail $'peers that fail: no ratio in\n'"$output"
[ "$(grep -c 'peers: torch of the test' <<<"$output")" -eq 1 ] ||
  fail 'the versions of the peers are printed more than once'
rm "$dir/build/times"
PLAIT_PYTHON=$dir/nothing run scan ratios; exited 'no python' $? 0
expect 'no python' "no peers: $dir/nothing cannot say what it has" '| ours, scan |' \
  'no peer was timed'
PEERS=none PLAIT_PYTHON=$dir/python run scan; exited 'PEERS=none' $? 0
expect 'PEERS=none' 'no peers: PEERS=none' '| ours, scan |'; never 'PEERS=none' 'theirs'
export PYTHONPATH=$dir/no_device
run scan; exited 'no device' $? 0
expect 'no device' 'no peers: there is no CUDA device' '| ours, scan |'
exit $status
