#!/usr/bin/env bash
# plait-config: the header for each golden checkpoint, the released one among them, and one line for whatever it refuses.
#   plait_config_test.sh PLAIT_CONFIG GOLDEN_DIR
set -u
config=$1 golden=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
refuses() {
  local pattern=$1; shift
  "$config" "$@" >"$work/out" 2>"$work/err"
  [ $? -eq 1 ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -qE -- "$pattern" "$work/err" || fail "$*: $(cat "$work/err")"
}
for directory in "$golden"/tiny*; do
  "$config" "$directory" --name one >"$work/header" && grep -q 'namespace one {' "$work/header" || fail "$directory"
done
"$config" "$golden/jamba_v0_1.config.json" | grep -qF '.layers = {.blocks = 4, .layers_per_block = 8, .attend = 1, .recur = 7, .moe_every = 2},' || fail 'v0.1'
mkdir "$work/c"
edit() { sed "$1" "$golden/jamba_v0_1.config.json" >"$work/c/config.json"; }
edit '/model_type/d';                                     refuses 'has no model_type' "$work/c"
edit 's/"jamba"/"mixtral"/';                              refuses 'model_type is "mixtral"; plait reads "jamba"' "$work/c"
edit 's/"silu"/"gelu"/';                                  refuses 'hidden_act is "gelu"' "$work/c"
edit 's/{/{"sliding_window": 4096,/';                     refuses 'sliding_window is 4096' "$work/c"
edit 's/{/{"mamba_inner_layernorms": false,/';            refuses 'mamba_inner_layernorms' "$work/c"
edit 's/"attn_layer_offset": 4/"attn_layer_offset": 8/';  refuses 'attn_layer_offset is 8, not below attn_layer_period, 8' "$work/c"
edit 's/"expert_layer_offset": 1/"expert_layer_offset": 2/'; refuses 'expert_layer_offset is 2' "$work/c"
edit 's/4096/"4096"/';                                    refuses 'hidden_size' "$work/c"
edit 's/"hidden_size": 4096/"hidden_size": -4/';          refuses 'hidden_size is -4' "$work/c"
edit 's/}/,/';                                            refuses 'config.json' "$work/c"
refuses 'nowhere' nowhere
refuses 'name' "$golden/tiny" --name '3x'
refuses 'usage|DIR' --wrong
refuses 'DIR'
[ $failures -eq 0 ] && echo 'all as it should be'
exit $((failures > 0))
