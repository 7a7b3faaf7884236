#!/usr/bin/env bash
# Peers of the GPU benchmarks, without a device: what peers.py says where it cannot run, run.sh's
# ratios of made-up times, and that a run goes on whatever becomes of a peer.
#   peers.sh BENCHMARKS_GPU_DIR
set -u
source=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0
# expect WHAT TEXT...: the output has each TEXT as a part of a line, and nothing else was promised.
expect() {
  local what=$1; shift
  for text; do grep -qF -e "$text" <<<"$output" || { printf '%s: no "%s" in\n%s\n' "$what" "$text" "$output"; status=1; }; done
}
never() { if grep -F -e "$2" <<<"$output"; then echo "$1: says \"$2\""; status=1; fi; }
exited() { [ "$2" -eq "$3" ] || { printf '%s: status %d instead of %d\n%s\n' "$1" "$2" "$3" "$output"; status=1; }; }
export PYTHONDONTWRITEBYTECODE=1
unset PEERS PLAIT_PYTHON

for file in peers build_peer; do python3 -c "compile(open('$source/$file.py').read(), '$file.py', 'exec')" || { echo "$file.py is no Python"; status=1; }; done
mkdir "$dir/without" "$dir/no_device" "$dir/no_device/torch"
echo 'raise ImportError("no torch")' >"$dir/without/torch.py"
printf 'from . import cuda\n' >"$dir/no_device/torch/__init__.py"
printf 'def is_available(): return False\n' >"$dir/no_device/torch/cuda.py"
mkdir "$dir/no_device/torch/nn" && touch "$dir/no_device/torch/nn/__init__.py" "$dir/no_device/torch/nn/functional.py"
for part in $(PYTHONPATH=$dir/without python3 "$source/peers.py" cases | cut -f 1 | uniq) versions; do
  output=$(PYTHONPATH=$dir/without python3 "$source/peers.py" "$part" 2>&1); exited "no torch, $part" $? 77
  [ "$output" = 'torch is not installed' ] || { echo "no torch, $part: $output"; status=1; }
  output=$(PYTHONPATH=$dir/no_device python3 "$source/peers.py" "$part" 2>&1); exited "no device, $part" $? 77
  [ "$output" = 'there is no CUDA device' ] || { echo "no device, $part: $output"; status=1; }
done
output=$(python3 "$source/peers.py" nonsense 2>&1); exited 'an unknown part' $? 2
# Sources that are not what build_peer.py was written for.
mkdir -p "$dir/sdist/mamba_ssm-9.9/csrc/selective_scan"
echo 'int x;' | tee "$dir/sdist/mamba_ssm-9.9/csrc/selective_scan/selective_scan.cpp" >"$dir/sdist/mamba_ssm-9.9/csrc/selective_scan/selective_scan_fwd_bf16.cu"
tar -czf "$dir/mamba_ssm-9.9.tar.gz" -C "$dir/sdist" mamba_ssm-9.9
output=$(PEERS=$dir PYTHONPATH=$dir/no_device python3 "$source/build_peer.py" mamba-ssm "$dir/peers" 2>&1); exited 'another version' $? 1
expect 'another version' 'mamba-ssm is left out: selective_scan_fwd_bf16.cu instantiates nothing for <at::BFloat16, float>'

# Ratios: two peers of one case, a case measured twice, cases that one side lacks, a part without
# peers, lines that are none.
mkdir "$dir/build"
run() { output=$(bash "$source/run.sh" "$dir/build" "$@" 2>&1); }
run ratios; exited 'no times' $? 0; expect 'no times' 'nothing was timed'
printf '%s\t%s\t%s\t%s\n' scan 'scan of 8192' 999.000 plait scan 'scan of 8192' 250.000 plait scan 'scan of 8192' 1000.000 'mamba-ssm 2.3.2' \
  scan 'scan of 8192' 500.000 'another 1.0' scan 'scan of 32768' 70.500 plait state 'state of 64' 12.000 'mamba-ssm 2.3.2' \
  decode_1 'decode step' 4000.000 plait norms 'norm of 1' 0.000 plait >"$dir/build/times"
echo 'torn lin' >>"$dir/build/times"
run ratios; exited 'ratios' $? 0
squeezed=$(tr -s ' ' <<<"$output" | sed -n '/^| scan\|^| state/p')
[ "$squeezed" = '| scan of 8192 | 250.0 | 1000.0 | 0.250 | mamba-ssm 2.3.2 |
| scan of 8192 | 250.0 | 500.0 | 0.500 | another 1.0 |
| scan of 32768 | 70.5 | - | - | no peer |
| state of 64 | - | 12.0 | - | mamba-ssm 2.3.2 |' ] || { printf 'ratios:\n%s\n' "$output"; status=1; }
never 'ratios' 'decode step'; never 'ratios' 'norm of 1'; never 'ratios' 'torn'
printf 'scan\tscan of 8192\t250.000\tplait\n' >"$dir/build/times"
run ratios; exited 'no peer' $? 0; expect 'no peer' 'no peer was timed'

# A run with programs that only pretend: one peer measures, one fails, one is killed; then there is
# no python, and then none is wanted.
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
expect 'peers that fail' 'peers: torch of the test' '| theirs |' 'a peer says why' 'peers of state: not all of them (1)' 'a traceback' 'peers of norms: not all of them (137)' \
  '| ours, norms |' 'no peer'
grep -q '| case of scan *| *10.0 | *40.0 | *0.250 | peer 1 |' <<<"$output" || { printf 'peers that fail: no ratio in\n%s\n' "$output"; status=1; }
[ "$(grep -c 'peers: torch of the test' <<<"$output")" -eq 1 ] || { echo 'the peers are asked for more than once'; status=1; }
rm "$dir/build/times"
PLAIT_PYTHON=$dir/nothing run scan ratios; exited 'no python' $? 0; expect 'no python' "no peers: $dir/nothing cannot say what it has" '| ours, scan |' 'no peer was timed'
PEERS=none PLAIT_PYTHON=$dir/python run scan; exited 'PEERS=none' $? 0; expect 'PEERS=none' 'no peers: PEERS=none' '| ours, scan |'; never 'PEERS=none' 'theirs'
export PYTHONPATH=$dir/no_device
run scan; exited 'no device' $? 0; expect 'no device' 'no peers: there is no CUDA device' '| ours, scan |'
exit $status
