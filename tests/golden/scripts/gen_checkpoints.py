#!/usr/bin/env python3
"""Tiny random Jamba and Mixtral checkpoints and their golden results.

Every entry of --specs becomes OUT/<name>/ with config.json, model.safetensors (or shards and an index), golden.safetensors and
golden.json. Deterministic for given versions of torch and transformers.
    gen_checkpoints.py --specs checkpoints.json --out .. [--only NAME]...

An entry: "config" goes to transformers' config class; "lengths" or "seq_len" give the sequences; "prefix" is where decode begins;
"save_dtype", "max_shard_size", "save_original_format" say how the file is written; "config_json" patches config.json ("REMOVE" takes a
key out); "embed_std" makes embeddings small, so that eps shows; "qk_gain" sharpens attention and "dt_bias" bounds the step sizes, so that
a long sequence's beginning still matters at its end; "rows" keeps the tensors of a long sequence at the borders of so many tokens and its
last 16 rows only.
"""
import argparse
import json
import math
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import JambaConfig, JambaForCausalLM, MixtralConfig, MixtralForCausalLM

import ref_numpy
import transformers_results as results

ROUTER_GAP = 1e-3   # least distance, in router logits, between the last chosen expert and the next
GREEDY_GAP = 1e-3   # least distance between the best and the second logit along the greedy path


@torch.no_grad()
def randomise(model, spec):
    """Weights far from the default initialisation, so that a dropped or swapped tensor shows."""
    rng = torch.Generator().manual_seed(spec["seed"])
    normal = lambda p, std, mean=0.0: p.copy_(mean + std * torch.randn(p.shape, generator=rng))
    uniform = lambda p, lo, hi: p.copy_(lo + (hi - lo) * torch.rand(p.shape, generator=rng))
    for name, p in sorted(model.named_parameters()):
        leaf = name.rsplit(".", 2)[-2:]
        if "layernorm" in name or leaf == ["norm", "weight"]:
            uniform(p, 0.5, 1.5)
        elif name.endswith("A_log"):                      # A between about -0.2 and -3 n, different in every channel
            p.copy_(torch.log(torch.arange(1, p.shape[1] + 1).float())[None] + 0.5 * torch.randn(p.shape, generator=rng))
        elif name.endswith("mamba.D"):
            normal(p, 0.5, 0.7)
        elif leaf == ["dt_proj", "bias"]:                 # by default softplus of it spans about 0.01 to 1.3
            uniform(p, *spec.get("dt_bias", (-4.5, 1.0)))
        elif name.endswith("bias"):
            normal(p, 0.3)
        elif "embed_tokens" in name:                      # tied: small, or the argmax is always the input token
            normal(p, spec.get("embed_std", 0.3 if model.config.tie_word_embeddings else 1.0))
        elif leaf == ["conv1d", "weight"]:
            normal(p, 0.6)
        elif leaf in (["router", "weight"], ["gate", "weight"]):
            normal(p, 2.0 / math.sqrt(p.shape[-1]))
        elif leaf[0] in ("q_proj", "k_proj"):
            normal(p, spec.get("qk_gain", 0.9) / math.sqrt(p.shape[-1]))
        else:
            normal(p, 0.9 / math.sqrt(p.shape[-1]))
    model.tie_weights()


def gap(values, k):
    """Least distance between the k-th and the (k+1)-th largest over the last axis."""
    if values.shape[-1] <= k:
        return math.inf
    top = values.float().topk(k + 1, -1).values
    return float((top[..., k - 1] - top[..., k]).min())


def draw_inputs(spec, config, attempt):
    rng = np.random.default_rng([spec["seed"], 7, attempt])
    lengths = spec.get("lengths", [spec["seq_len"]])
    T = max(lengths)
    ids = np.full((len(lengths), T), config.pad_token_id or 0)
    for b, n in enumerate(lengths):
        ids[b, T - n:] = rng.integers(0, config.vocab_size, n)      # ids 0..2 are ordinary tokens inside the text
    mask = (np.arange(T)[None] >= T - np.array(lengths)[:, None]).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(mask) if (mask == 0).any() else None


def save_checkpoint(spec, folder):
    shutil.rmtree(folder, ignore_errors=True)
    kinds = {"jamba": (JambaConfig, JambaForCausalLM), "mixtral": (MixtralConfig, MixtralForCausalLM)}
    make_config, make_model = kinds[spec.get("model_type", "jamba")]
    config = make_config(**spec["config"])
    model = make_model(config).eval()
    randomise(model, spec)
    how = {k: spec[k] for k in ("max_shard_size", "save_original_format") if k in spec}
    model.to(getattr(torch, spec.get("save_dtype", "float32"))).save_pretrained(folder, **how)
    if "config_json" in spec:                                       # keys as older or hand-written files spell them
        path = folder / "config.json"
        text = json.loads(path.read_text()) | spec["config_json"]
        path.write_text(json.dumps({k: v for k, v in text.items() if v != "REMOVE"}, indent=2, sort_keys=True) + "\n")


def clear_input(spec, model, record):
    """The first drawn input where no expert and no greedy token hangs on rounding, with what transformers makes of it."""
    config = model.config
    routed = getattr(config, "num_experts", 0) or getattr(config, "num_local_experts", 0)
    for attempt in range(400):
        ids, mask = draw_inputs(spec, config, attempt)
        found = results.prefill(model, record, ids, mask)
        live = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        margins = [gap(v[live], config.num_experts_per_tok) for k, v in found.items() if k.endswith("router_logits") and routed > 1]
        router_gap = min(margins, default=math.inf)
        if router_gap < ROUTER_GAP:
            continue
        tokens, step_logits = results.greedy(model, ids, mask)
        greedy_gap = gap(step_logits, 1)
        if greedy_gap >= GREEDY_GAP and all(len(set(row.tolist())) > 3 for row in tokens):
            found |= {"greedy.tokens": tokens, "greedy.logits": step_logits}
            return ids, mask, live, found, {"attempt": attempt, "router_gap": router_gap, "greedy_gap": greedy_gap}
    raise SystemExit(f"{spec['name']}: no input with clear margins; change the seed")


def exact_logits(folder, ids, live):
    cfg, weights = ref_numpy.load_checkpoint(folder)
    exact = np.zeros((*ids.shape, cfg["vocab_size"]))
    for b, n in enumerate(live.sum(-1).tolist()):
        exact[b, ids.shape[1] - n:] = ref_numpy.forward(cfg, weights, ids[b, ids.shape[1] - n:].numpy())
    return exact


def rotary_check(spec, folder, model, ids, live, exact):
    """The frequencies are those of transformers, to the bit; and what the roundings transformers does to the angles are worth."""
    cfg = ref_numpy.load_checkpoint(folder)[0]
    theta, hd = cfg["rope_theta"], cfg.get("head_dim") or cfg["hidden_size"] // cfg["num_attention_heads"]
    buffer = model.model.rotary_emb.inv_freq.numpy()
    double = np.float64(theta) ** -(np.arange(0, hd, 2) / hd)
    if not np.array_equal(ref_numpy.inverse_frequencies(theta, hd), buffer):    # torch's pow is not always rounded to nearest
        raise SystemExit(f"{spec['name']}: torch rounds a frequency otherwise; change rope_theta: {buffer} {double}")
    angles, rotate = ref_numpy.rotary_angles, ref_numpy.rotate
    ref_numpy.rotary_angles = lambda theta, positions, hd: positions[:, None] * double
    unrounded = ref_numpy.rel(exact_logits(folder, ids, live), exact)
    ref_numpy.rotary_angles = angles

    def rotate_f32(x, angle):
        a, b = np.split(x, 2, axis=-1)
        c, s = (f(angle).astype(np.float32).astype(np.float64) for f in (np.cos, np.sin))
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)
    ref_numpy.rotate = rotate_f32
    rounded = ref_numpy.rel(exact_logits(folder, ids, live), exact)
    ref_numpy.rotate = rotate
    return {"logits_f64_with_unrounded_angles": unrounded, "logits_f64_with_f32_cos_sin": rounded}, torch.from_numpy(buffer.copy())


def kept_rows(spec, T):
    step = spec["rows"]
    return torch.tensor([t for t in range(T) if t < 3 or t % step in (0, step - 1) or t >= T - 16])


@torch.no_grad()
def build(spec, out):
    folder = out / spec["name"]
    save_checkpoint(spec, folder)
    model = results.load(folder)
    ids, mask, live, found, info = clear_input(spec, model, results.Recorder(model))
    T, prefix = ids.shape[1], spec.get("prefix", ids.shape[1] // 2)
    golden = {"input_ids": ids} | found
    if mask is not None:
        golden["attention_mask"] = mask
    golden["decode.logits"], end = results.decode(model, ids, mask, prefix)
    exact = exact_logits(folder, ids, live)
    golden["logits_f64"] = torch.from_numpy(exact)

    logits, scale = found["logits"], found["logits"][live].abs().max()
    info = {k: spec[k] for k in ("name", "seed", "about")} | {"torch": torch.__version__, "transformers": transformers.__version__, "prefix": prefix} | info
    info["parameters"] = sum(p.numel() for p in model.parameters())
    info["decode_vs_prefill"] = float(((golden["decode.logits"] - logits[:, prefix:]).abs() * live[:, prefix:, None]).max() / scale)
    seen = lambda k, v: v * live[:, None, :, None] if k.endswith((".k", ".v")) else v   # keys of padding are arbitrary
    info["decode_vs_prefill_cache"] = max(float(seen(k, end[k] - golden[k]).abs().max() / golden[k].abs().max()) for k in end)
    if "save_dtype" in spec:                                        # information only: hangs on transformers' own rounding order
        low = results.load(folder, getattr(torch, spec["save_dtype"]))(ids, attention_mask=mask).logits.float()
        golden["logits_low_precision"] = low
        info["low_precision_vs_f32"] = float((low - logits).abs().max() / scale)
    if mask is not None:
        alone = [model(ids[b:b + 1, T - n:]).logits[0] for b, n in enumerate(spec["lengths"])]
        info["padded_vs_alone"] = max(float((logits[b, T - len(a):] - a).abs().max() / scale) for b, a in enumerate(alone))
    info["f32_vs_f64"] = ref_numpy.rel(logits.numpy()[live.numpy()], exact[live.numpy()])
    if model.config.model_type == "mixtral":
        worth, golden["inv_freq"] = rotary_check(spec, folder, model, ids, live, exact)
        info |= worth
    if "rows" in spec:
        rows = kept_rows(spec, T)
        info["f32_vs_f64_stored_rows"] = ref_numpy.rel(logits[:, rows].numpy(), exact[:, rows])
        golden = results.only_rows(golden, rows) | {"rows": rows}
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps({k: None if v == math.inf else v for k, v in info.items()}, indent=1) + "\n")
    print(spec["name"], {k: info[k] for k in info if k not in ("about", "name", "torch", "transformers")}, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for s in json.loads(args.specs.read_text()):
        if not args.only or s["name"] in args.only:
            build(s, args.out)
