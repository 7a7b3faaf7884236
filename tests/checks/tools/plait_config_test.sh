#!/usr/bin/env bash
# plait-config: the header of every golden checkpoint and of the released one; every refusal is one
# line.
#   plait_config_test.sh PLAIT_CONFIG GOLDEN_DIR
set -u
config=$1 golden=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# refuses PATTERN ARGUMENTS...
refuses() {
  local pattern=$1; shift
  "$config" "$@" >"$work/out" 2>"$work/err"
  [ $? -eq 1 ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -eq 1 ] &&
    grep -qE -- "$pattern" "$work/err" || fail "$*: $(cat "$work/err")"
}
# prints CHECKPOINT TEXT: the header has this text.
prints() { "$config" "$1" | grep -qF -- "$2" || fail "$1: no \"$2\""; }
for directory in "$golden"/tiny*; do
  "$config" "$directory" --name one >"$work/header" && grep -q 'namespace one {' "$work/header" ||
    fail "$directory"
done
prints "$golden/jamba_v0_1.config.json" \
  '.layers = {.blocks = 4, .layers_per_block = 8, .attend = 1, .recur = 7, .moe_every = 2},'
prints "$golden/mixtral_8x7b.config.json" \
  '.layers = {.blocks = 32, .layers_per_block = 1, .attend = 1, .recur = 0, .moe_every = 1},'

# A config.json of plait's own type with this mixer.
mkdir "$work/c"
own() {
  cat >"$work/c/config.json" <<END
{"model_type": "plait", "hidden_size": 8, "vocab_size": 5, "num_hidden_layers": 1,
 "norm": {"name": "rms_norm"}, "norm_eps": 1e-6,
 "layers": [{"mixer": $1, "ffn": {"name": "feed_forward", "d_ff": 4}}]}
END
}
own '{"name": "self_attn", "num_heads": 2, "num_kv_heads": 1}'
prints "$work/c" 'plait::hybrid<plait::attention, plait::none, plait::mlp, plait::none> config{'
own '{"name": "ring", "slots": 2}'
refuses 'layers\[0\].mixer is "ring" with hyperparameters that no component of plait has' \
  "$work/c"

# edited SCRIPT PATTERN: config.json of Jamba v0.1, changed by sed, is refused.
edited() {
  sed "$1" "$golden/jamba_v0_1.config.json" >"$work/c/config.json"
  refuses "$2" "$work/c"
}
edited '/model_type/d' 'has no model_type'
edited 's/"jamba"/"llama"/' 'model_type is "llama"; plait reads "jamba", "mixtral", "plait"'
edited 's/"silu"/"gelu"/' 'hidden_act is "gelu"'
edited 's/{/{"sliding_window": 4096,/' 'sliding_window is 4096'
edited 's/{/{"mamba_inner_layernorms": false,/' 'mamba_inner_layernorms'
edited 's/"attn_layer_offset": 4/"attn_layer_offset": 8/' \
  'attn_layer_offset is 8, not below attn_layer_period, 8'
edited 's/"expert_layer_offset": 1/"expert_layer_offset": 2/' 'expert_layer_offset is 2'
edited 's/4096/"4096"/' 'hidden_size'
edited 's/"hidden_size": 4096/"hidden_size": -4/' 'hidden_size is -4'
edited 's/}/,/' 'config.json'
refuses 'nowhere' nowhere
refuses 'name' "$golden/tiny" --name '3x'
refuses 'usage|DIR' --wrong
refuses 'DIR'
exit $((failures > 0))
