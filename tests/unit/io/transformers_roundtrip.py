"""transformers loads what plait saves: the same tensors, none missing or unexpected, the same logits.

Logits are equal to the last bit.

    transformers_roundtrip.py RESAVE DIRECTORY [RESAVE DIRECTORY]...

RESAVE is the program of tests/unit/io/resave.cpp, with the architecture of DIRECTORY's checkpoint.
"""

import json
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from safetensors import safe_open

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print("FAILED:", what)


def load(directory):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        check(not info[kind], f"{directory}: {kind}: {info[kind]}")
    return model.eval()


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits


def same_config(new, old, what):
    """Compares the keys that describe the architecture."""
    other = {
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "use_mamba_kernels",
        "max_position_embeddings",
        "dtype",
        "transformers_version",
        "_name_or_path",
    }
    placement = {f"{part}_layer_{key}" for part in ("attn", "expert") for key in ("period", "offset")}
    for key in sorted(set(old) & set(new) - other - placement):
        check(new[key] == old[key], f"{what}: {key} is {new[key]}, was {old[key]}")


def round_trip(resave, directory):
    name = os.path.basename(os.path.normpath(directory))
    original = load(directory)
    with safe_open(os.path.join(directory, "golden.safetensors"), "pt") as golden:
        keys = [k for k in ("input_ids", "attention_mask") if k in golden.keys()]
        inputs = {k: golden.get_tensor(k) for k in keys}
    expected, state = logits(original, inputs), original.state_dict()
    for shard_bytes, kind in ((10**9, "f32"), (30_000, "f32"), (10**9, "bf16"), (30_000, "bf16")):
        what = f"{name}, {kind}, {shard_bytes} bytes per file"
        with tempfile.TemporaryDirectory() as work:
            to = os.path.join(work, "saved")
            subprocess.run([resave, directory, to, str(shard_bytes), kind], check=True)
            sharded = os.path.exists(os.path.join(to, "model.safetensors.index.json"))
            check(sharded == (shard_bytes < 10**9), f"{what}: {os.listdir(to)}")
            saved = load(to)
            got = saved.state_dict()
            check(got.keys() == state.keys(), f"{what}: {got.keys() ^ state.keys()}")
            for key, tensor in state.items():
                if kind == "bf16":
                    tensor = tensor.to(torch.bfloat16).to(torch.float32)
                check(torch.equal(got[key], tensor), f"{what}: {key}")
            if kind == "f32":
                check(torch.equal(logits(saved, inputs), expected), f"{what}: logits")
            check(type(saved) is type(original), f"{what}: {type(saved)}")
            with open(os.path.join(to, "config.json")) as file:
                raw = json.load(file)
            dtype = {"f32": "float32", "bf16": "bfloat16"}[kind]
            check(raw["dtype"] == dtype, f"{what}: dtype {raw['dtype']}")
            same_config(saved.config.to_dict(), original.config.to_dict(), what)
            for key in ("layers_block_type", "layers_num_experts"):
                new, old = (getattr(m.config, key, None) for m in (saved, original))
                check(new == old, f"{what}: {key}")
            # transformers takes the dtype of config.json.
            own = transformers.AutoModelForCausalLM.from_pretrained(to, dtype="auto")
            check(own.dtype == getattr(torch, dtype), f"{what}: loaded as {own.dtype}")
    print(f"{name}: {len(state)} tensors, {expected.numel()} logits")


for resave, directory in zip(sys.argv[1::2], sys.argv[2::2]):
    round_trip(resave, directory)
print(f"transformers {transformers.__version__}, torch {torch.__version__}: {failures} failures")
sys.exit(failures > 0)
