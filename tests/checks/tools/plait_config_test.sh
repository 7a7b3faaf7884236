#!/usr/bin/env bash
# plait-config: the header for each golden checkpoint, the released one among them, and one line for
# whatever it refuses.
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
"$config" "$golden/mixtral_8x7b.config.json" | grep -qF '.layers = {.blocks = 32, .layers_per_block = 1, .attend = 1, .recur = 0, .moe_every = 1},' || fail '8x7B'
mkdir "$work/c"
own() {
  echo '{"model_type": "plait", "hidden_size": 8, "vocab_size": 5, "num_hidden_layers": 1, "norm": {"name": "rms_norm"}, "norm_eps": 1e-6,
         "layers": [{"mixer": '"$1"', "ffn": {"name": "feed_forward", "d_ff": 4}}]}' >"$work/c/config.json"
}
own '{"name": "self_attn", "num_heads": 2, "num_kv_heads": 1}'
"$config" "$work/c" | grep -qF 'plait::hybrid<plait::attention, plait::none, plait::mlp, plait::none> config{' || fail 'a type of plait'"'"'s own'
own '{"name": "ring", "slots": 2}';                       refuses 'layers\[0\].mixer is "ring" with hyperparameters that no component of plait has' "$work/c"
edit() { sed "$1" "$golden/jamba_v0_1.config.json" >"$work/c/config.json"; }
edit '/model_type/d';                                     refuses 'has no model_type' "$work/c"
edit 's/"jamba"/"llama"/';                                refuses 'model_type is "llama"; plait reads "jamba", "mixtral", "plait"' "$work/c"
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
